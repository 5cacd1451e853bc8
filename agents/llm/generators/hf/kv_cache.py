"""A KV cache with one row for each sequence, kept between turns.

Token t of a sequence is stored at position t of its row. New tokens of several rows are processed
packed into one sequence ("prefill"), or as one token for each of the first rows ("decode"), without
padding. Positions after the end of a row are masked, so a row is truncated by a smaller length.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
from collections.abc import Mapping, Sequence
from platform import machine
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from agents.llm.generators.hf.attention import MaskRule, Scoring
from agents.llm.generators.hf.plans import Chunk, Decode, Prefill

# Linux then counts written pages only; Python before 3.13 has no name for the flag.
_NO_RESERVE = 0x4000 if sys.platform == "linux" and machine() in ("x86_64", "aarch64") else 0


class RowCache(Cache):
    """Keys and values by row and position, for every layer.

    Attributes:
        stored: [2 * layers, rows, key/value heads, positions, head size]; keys of layer l at 2l,
            values at 2l + 1.
        plan: the tokens of the next forward pass.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(layers=[])
        config = model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.stored = torch.empty(
            (2 * config.num_hidden_layers, 0, heads, 0, size),
            dtype=model.dtype,
            device=model.device,
        )
        self.plan: Prefill | Decode  # set before each forward pass

    def reserve(self, rows: int, positions: int, lengths: Mapping[int, int]) -> None:
        """Grow to at least this many rows and positions; the cache never shrinks.

        `lengths` maps rows to the number of positions that are kept.

        Raises:
            OSError: if the memory of a CPU is too small.
        """
        _, old_rows, _, old_positions, _ = self.stored.shape
        if rows <= old_rows and positions <= old_positions:
            return
        # Growth copies. On a CPU, room for later turns takes no memory until it is written.
        spare = 3 * positions if self.stored.is_cpu else positions // 4 if old_positions else 0
        spare = spare if positions > old_positions else 0
        try:
            grown = self._zeros(rows, positions + spare)
        except OSError:  # the system promises no more memory than it has
            grown = self._zeros(rows, positions)
        for row, length in lengths.items():
            if row < old_rows:
                grown[:, row, :, :length] = self.stored[:, row, :, :length]
        self.stored = grown

    def _zeros(self, rows: int, positions: int) -> Tensor:
        """Return an empty store of at least this size, and not smaller than the current one."""
        double, old_rows, heads, old_positions, size = self.stored.shape
        positions = max(-(-positions // 64) * 64, old_positions)
        return _lazy_zeros((double, max(rows, old_rows), heads, positions, size), self.stored)

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a row to another."""
        self.stored[:, target, :, :length] = self.stored[:, source, :, :length]

    def swap_rows(self, left: Sequence[int], right: Sequence[int], length: int) -> None:
        """Exchange the first `length` positions of rows, pairwise."""
        left, right = list(left), list(right)
        # On a CPU layer by layer, to limit the memory of the copy.
        for stored in self.stored if self.stored.is_cpu else self.stored[None]:
            kept = stored[..., left, :, :length, :]
            stored[..., left, :, :length, :] = stored[..., right, :, :length, :]
            stored[..., right, :, :length, :] = kept

    def plan_prefill(self, chunks: Sequence[Chunk]) -> Tensor:
        """Set up a forward pass over packed chunks.

        Returns:
            [1, N] positions of the packed tokens.
        """
        self.plan = Prefill.from_chunks(chunks, self.stored.device)
        return self.plan.positions_N[None]

    def plan_decode(self, positions_B: Tensor, longest: int) -> Tensor:
        """Set up a forward pass over one new token for each of the first B rows.

        Args:
            positions_B: [B] positions of the new tokens.
            longest: the largest of them plus one.

        Returns:
            [B, 1] the same positions.
        """
        rows = torch.arange(len(positions_B), device=positions_B.device)
        self.plan = Decode(rows, positions_B, longest)
        return positions_B[:, None]

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Store the new tokens of a layer and return all its rows; the signature is `Cache`'s."""
        keys, values = self.stored[2 * layer_idx], self.stored[2 * layer_idx + 1]
        self.plan.write(keys, key_states)
        self.plan.write(values, value_states)
        return keys, values

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, rule: MaskRule, scoring: Scoring
    ) -> Tensor:
        """Attention of the new tokens of a layer to its rows, as `update` returned them."""
        return self.plan.attend(query, keys, values, rule, scoring)


def _lazy_zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """Zeros like a tensor; on a Unix CPU their memory is allocated when it is first written.

    Rows of a cache are padded to the longest one, so most of its pages are never written.

    Raises:
        OSError: if the system refuses this much memory.
    """
    size = math.prod(shape) * like.element_size()
    if not like.is_cpu or not size or not hasattr(mmap, "MAP_PRIVATE"):
        return like.new_zeros(shape)
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
    except OSError as error:
        raise OSError(
            error.errno,
            f"the keys and values of {shape[1]} episodes of up to {shape[3]} tokens need "
            f"{size / 2**30:.1f} GiB ({os.strerror(error.errno or 0)}); play fewer episodes at the "
            "same time, or shorter ones",
        ) from error
    return torch.frombuffer(pages, dtype=like.dtype).view(*shape)
