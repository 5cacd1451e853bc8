"""Initial weights of a tiny transformer that already contain induction heads.

To copy a name from a page, a transformer needs two cooperating layers: one that gives every
position the tokens just before it, and one that attends to an earlier position with the same
tokens before it (an induction head, Olsson et al., arXiv:2209.11895). From the usual random weights
they did not form within three million tokens. With this initialization a few hundred steps suffice.
All weights are trained afterwards.

The residual stream is divided into one block per head. Block 0 holds the token itself, block i the
token i positions earlier.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_EMBEDDING_STD = 0.25
_GAIN = 1.5
_FAST = 0.05  # radians per position; dimensions that rotate faster encode positions, not tokens
_SHARPNESS = 8.0  # nats by which a shift head prefers its offset to the next one
# Blocks that each head of layer 1 compares: (block of the query, block of the key). (0, 1) attends
# to the position after an earlier occurrence of the current token.
_MATCHES: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, 1),),
    ((0, 1), (1, 2)),
    ((1, 2), (2, 3), (4, 5)),
    ((1, 2), (2, 3)),
)


@torch.no_grad()
def init_induction_heads(model: Any) -> None:
    """Overwrite random weights, in place, with shift heads (layer 0) and induction heads (layer 1).

    Args:
        model: a `LlamaForCausalLM` of at least 2 layers and 6 heads, attention with bias, tied
            embeddings.
    """
    size = model.config.hidden_size // model.config.num_attention_heads
    width = model.config.head_dim
    embedding = model.model.embed_tokens.weight
    embedding.normal_(0.0, 0.03)
    embedding[:, :size].normal_(0.0, _EMBEDDING_STD)
    for layer in model.model.layers:
        attention = layer.self_attn
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
            projection.weight.normal_(0.0, 0.02)
        # The output of random features would be larger than the blocks.
        for projection in (attention.o_proj, layer.mlp.down_proj):
            projection.weight.normal_(0.0, 0.002)
    # [width / 2] radians per position of each rotated pair of a head.
    base = model.config.rope_parameters["rope_theta"]
    frequencies = base ** -(torch.arange(0, width, 2).float() / width)
    _init_shift_heads(model, size, frequencies)
    _init_match_heads(model, size, frequencies)


def _init_shift_heads(model: Any, size: int, frequencies: Tensor) -> None:
    """Let head i of layer 0 attend i + 1 positions back and copy block 0 to block i + 1.

    Queries and keys are constant, and the query is rotated back by the offset. With the rotary
    embedding the score then depends on the distance alone and is highest at the offset. The fast
    dimensions make the peak sharp.
    """
    attention = model.model.layers[0].self_attn
    width = model.config.head_dim
    fast = frequencies > _FAST
    amplitude = math.sqrt(
        _SHARPNESS * math.sqrt(width) / float((1 - torch.cos(frequencies[fast])).sum())
    )
    constant = fast * amplitude
    copy = torch.eye(width, size)
    strength = _EMBEDDING_STD * math.sqrt(size / model.config.hidden_size)
    for head in range(model.config.num_attention_heads - 1):
        rows = _block(head, width)
        turn = frequencies * (head + 1)
        attention.k_proj.bias[rows] = torch.cat([constant, torch.zeros_like(constant)])
        attention.q_proj.bias[rows] = torch.cat(
            [constant * torch.cos(turn), -constant * torch.sin(turn)]
        )
        attention.v_proj.weight[rows, :size] += copy
        attention.o_proj.weight[_block(head + 1, size), rows] += strength * copy.T


def _init_match_heads(model: Any, size: int, frequencies: Tensor) -> None:
    """Let heads of layer 1 attend to positions after the same tokens, and copy the token there.

    Tokens are compared in the slowly rotating dimensions, which hardly depend on the distance.
    Several comparisons share a head: their blocks have random rotations.
    """
    attention = model.model.layers[1].self_attn
    width = model.config.head_dim
    slow = (frequencies <= _FAST).float().repeat(2)[:, None]
    rotations = [torch.linalg.qr(torch.randn(width, size))[0] for _ in range(3)]
    for head, pairs in enumerate(_MATCHES):
        rows = _block(head, width)
        gain = _GAIN * (1.4 if len(pairs) == 1 else 1.0) * (width / size) ** 0.25
        for (query, key), rotation in zip(pairs, rotations, strict=False):
            attention.q_proj.weight[rows, _block(query, size)] += gain * slow * rotation
            attention.k_proj.weight[rows, _block(key, size)] += gain * slow * rotation
        attention.v_proj.weight[rows, :size] += torch.eye(width, size)
        attention.o_proj.weight[_block(0, size), rows] += _EMBEDDING_STD * torch.eye(size, width)


def _block(index: int, size: int) -> slice:
    return slice(index * size, (index + 1) * size)
