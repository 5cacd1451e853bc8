"""Starting weights in which a tiny transformer can already read back what it has read.

Copying a name from a page takes two layers that find each other: one that tells every position
which tokens stand just before it, one that looks for a position with the same tokens before it (an
induction head, Olsson et al., arXiv:2209.11895). Gradient descent finds them late: from the usual
random weights, reading was not learnt in three million tokens. Here they are laid out beforehand,
and a few hundred steps suffice. All weights go on to be trained like any others.

The residual stream is cut into one block per head. Block 0 holds the token itself, block i the
token i places before.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_EMBEDDING_STD = 0.25
_GAIN = 1.5
_FAST = 0.05  # radians per position: a pair that turns faster tells places apart, not tokens
_SHARPNESS = 8.0  # by how many nats a shift prefers its own offset to the next
# What each head of layer 1 compares: (block of the reader, block of what it looks for). The block
# of the found token lies one place further back, so (0, 1) finds "what followed this token".
_MATCHES: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, 1),),
    ((0, 1), (1, 2)),
    ((1, 2), (2, 3), (4, 5)),
    ((1, 2), (2, 3)),
)


@torch.no_grad()
def wire_for_reading(model: Any) -> None:
    """Overwrite random weights, in place, by shifts (layer 0) and induction heads (layer 1).

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
        # What random features write would drown the blocks.
        for projection in (attention.o_proj, layer.mlp.down_proj):
            projection.weight.normal_(0.0, 0.002)
    frequencies = _rotary_frequencies(model, width)
    _wire_shifts(model, size, frequencies)
    _wire_matches(model, size, frequencies)


def _rotary_frequencies(model: Any, width: int) -> Tensor:
    """[width / 2] radians per position of each rotated pair of a head."""
    base = model.config.rope_parameters["rope_theta"]
    return base ** -(torch.arange(0, width, 2).float() / width)


def _wire_shifts(model: Any, size: int, frequencies: Tensor) -> None:
    """Head i of layer 0 attends i + 1 places back and copies block 0 to block i + 1.

    Constant queries and keys, the query turned back by the offset: rotary embedding makes the
    score a function of distance alone, with its peak there. The fast pairs make it sharp.
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


def _wire_matches(model: Any, size: int, frequencies: Tensor) -> None:
    """Heads of layer 1 attend to where the same tokens stand before, and copy what is there.

    Tokens are compared in the slowly rotating dimensions, which look the same at any distance;
    several comparisons share a head through random rotations of their blocks.
    """
    attention = model.model.layers[1].self_attn
    width = model.config.head_dim
    slow = (frequencies <= _FAST).float().repeat(2)[:, None]
    rotations = [torch.linalg.qr(torch.randn(width, size))[0] for _ in range(3)]
    for head, pairs in enumerate(_MATCHES):
        rows = _block(head, width)
        gain = _GAIN * (1.4 if len(pairs) == 1 else 1.0) * (width / size) ** 0.25
        for (reader, sought), rotation in zip(pairs, rotations, strict=False):
            attention.q_proj.weight[rows, _block(reader, size)] += gain * slow * rotation
            attention.k_proj.weight[rows, _block(sought, size)] += gain * slow * rotation
        attention.v_proj.weight[rows, :size] += torch.eye(width, size)
        attention.o_proj.weight[_block(0, size), rows] += _EMBEDDING_STD * torch.eye(size, width)


def _block(index: int, size: int) -> slice:
    return slice(index * size, (index + 1) * size)
