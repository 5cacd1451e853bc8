"""A packed line's attention as one kernel: what sees what, block by block, for flex_attention.

Calling it for every span in turn costs more in launches than in arithmetic on a GPU: a line of
32,768 tokens has some sixty spans, and a model some thirty layers.

Shapes: N tokens of a line, M of it with padding, I and J its blocks of queries and of keys, H
heads, K key/value heads, D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

if TYPE_CHECKING:
    from agents.llm.learner.packing import Span

_BLOCK = 128


def has_kernel(device: torch.device) -> bool:
    """Whether flex_attention is one kernel there; elsewhere it would hold [H, M, M] scores."""
    return device.type == "cuda" and find_spec("triton") is not None


def make_blocks(spans: Sequence[Span], device: torch.device) -> BlockMask:
    """What each token of a line sees: its span's prompt, and its own span up to itself.

    The line is padded to whole blocks; padding sees itself only.

    Args:
        spans: of a line, in order.
        device: where attention is computed.
    """
    length = spans[-1].stop
    padded = -(-length // _BLOCK) * _BLOCK
    # Of each span: length, own beginning, the prompt's beginning and end.
    rows = [(s.stop - s.start, s.start, s.prompt, s.prompt_stop) for s in spans]
    rows.append((padded - length, length, length, length))
    lengths, *bounds = torch.tensor(rows, dtype=torch.int32, device=device).T
    own_M, prompt_M, prompt_stop_M = (bound.repeat_interleave(lengths) for bound in bounds)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        own = (key >= own_M[query]) & (key <= query)
        return own | ((key >= prompt_M[query]) & (key < prompt_stop_M[query]))

    begin_J = torch.arange(0, padded, _BLOCK, dtype=torch.int32, device=device)
    next_M = torch.arange(1, padded + 1, dtype=torch.int32, device=device)

    def within(first_M: Tensor, stop_M: Tensor) -> Tensor:
        """[M, J] how many of a token's keys from first to stop lie in each block."""
        last_MJ = stop_M[:, None].minimum(begin_J + _BLOCK)
        return (last_MJ - first_M[:, None].maximum(begin_J)).clamp_min_(0)

    # A prompt ends where its rollouts' own tokens begin, or before: nothing is counted twice.
    seen_MJ = within(own_M, next_M) + within(prompt_M, prompt_stop_M)
    seen_IJ = seen_MJ.view(len(begin_J), _BLOCK, -1).sum(1)
    full_IJ = seen_IJ == _BLOCK * _BLOCK
    return BlockMask.from_kv_blocks(
        *_listed((seen_IJ > 0) & ~full_IJ), *_listed(full_IJ), BLOCK_SIZE=_BLOCK, mask_mod=sees
    )


def attend_blocks(
    blocks: BlockMask, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None
) -> Tensor:
    """[1, N, H, D] of a line's queries [1, H, N, D], keys and values [1, K, N, D]."""
    length, padded = query.shape[2], blocks.shape[-1]
    attend: Callable[..., Any] = _kernel() if query.is_cuda else flex_attention
    attended = attend(
        *(
            nn.functional.pad(states, (0, 0, 0, padded - length))
            for states in (query, keys, values)
        ),
        block_mask=blocks,
        scale=scaling,
        enable_gqa=query.shape[1] != keys.shape[1],
    )
    return attended[:, :, :length].transpose(1, 2)


@cache
def _kernel() -> Callable[..., Any]:
    """Compiled for the first line, and once more for lines of all other lengths."""
    return torch.compile(flex_attention)


def _listed(chosen_IJ: Tensor) -> tuple[Tensor, Tensor]:
    """[1, 1, I] how many blocks of keys are chosen for each block of queries, [1, 1, I, J] which.

    Those that are not chosen follow.
    """
    order_IJ = chosen_IJ.int().argsort(dim=1, descending=True, stable=True)
    return chosen_IJ.sum(1, dtype=torch.int32)[None, None], order_IJ.int()[None, None]
