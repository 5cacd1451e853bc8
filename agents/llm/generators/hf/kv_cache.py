"""A KV cache with one row for each sequence, kept between turns.

Token t of a sequence is stored at position t of its row. New tokens of several rows are processed
packed into one sequence ("prefill"), or as one token for each of the first rows ("decode"), without
padding. Positions after the end of a row are masked, so a row is truncated by a smaller length.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, Cache, PreTrainedModel

ATTENTION = "zerosearch_rows"
# On a GPU: chunks whose lengths differ by less are padded to one length; and the largest number of
# attention scores of one call, for each head.
_MAX_PADDING, _MAX_SCORES = 64, 2**25


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive new tokens of one row: packed[start:stop] have positions from `first` on."""

    row: int
    first: int
    start: int
    stop: int

    @property
    def num_tokens(self) -> int:
        return self.stop - self.start


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
        self._heads_per_key = config.num_attention_heads // heads
        self._causal_PP = torch.empty((0, 0), dtype=model.dtype, device=model.device)
        self.plan: _Prefill | _Decode  # set before each forward pass

    def reserve(self, rows: int, positions: int, lengths: Mapping[int, int]) -> None:
        """Grow to at least this many rows and positions; the cache never shrinks.

        `lengths` maps rows to the number of positions that are kept.
        """
        double, old_rows, heads, old_positions, size = self.stored.shape
        if rows > old_rows or positions > old_positions:
            if positions > old_positions:
                # Growth copies. On a CPU, room for later turns takes no memory until it is written.
                if self.stored.is_cpu:
                    positions *= 4
                elif old_positions:
                    positions += positions // 4
                positions = -(-positions // 64) * 64
            positions = max(positions, old_positions)
            grown = _lazy_zeros((double, max(rows, old_rows), heads, positions, size), self.stored)
            for row, length in lengths.items():
                if row < old_rows:
                    grown[:, row, :, :length] = self.stored[:, row, :, :length]
            self.stored = grown

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
        lengths = torch.tensor([chunk.num_tokens for chunk in chunks])
        rows = torch.tensor([chunk.row for chunk in chunks]).repeat_interleave(lengths)
        shift = torch.tensor([chunk.first - chunk.start for chunk in chunks])
        positions = torch.arange(chunks[-1].stop) + shift.repeat_interleave(lengths)
        device = self.stored.device
        if _prefers_padding(device):
            parts: Sequence[_Single | _Padded] = [
                _Padded.from_chunks(similar, self.stored, self._heads_per_key)
                for similar in _group_by_length(chunks)
            ]
        else:
            longest = max(chunk.first + chunk.num_tokens for chunk in chunks)
            if longest > self._causal_PP.shape[0]:
                blocked = torch.full((longest, longest), float("-inf"), dtype=self.stored.dtype)
                self._causal_PP = blocked.triu(1).to(device)
            parts = [_Single(chunk, self._causal_PP) for chunk in chunks]
        self.plan = _Prefill(tuple(parts), rows.to(device), positions.to(device))
        return self.plan.positions_N[None]

    def plan_decode(self, positions_B: Tensor, longest: int) -> Tensor:
        """Set up a forward pass over one new token for each of the first B rows.

        Args:
            positions_B: [B] positions of the new tokens.
            longest: the largest of them plus one.

        Returns:
            [B, 1] the same positions.
        """
        places = torch.arange(longest, device=positions_B.device)
        mask_BL = torch.zeros(
            (len(positions_B), longest), dtype=self.stored.dtype, device=positions_B.device
        ).masked_fill_(places > positions_B[:, None], float("-inf"))
        rows = torch.arange(len(positions_B), device=positions_B.device)
        self.plan = _Decode(rows, positions_B, mask_BL[:, None, None])
        return positions_B[:, None]

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Store the new tokens of a layer and return all its rows; the signature is `Cache`'s."""
        keys, values = self.stored[2 * layer_idx], self.stored[2 * layer_idx + 1]
        self.plan.write(keys, key_states)
        self.plan.write(values, value_states)
        return keys, values


@dataclass(frozen=True, slots=True, eq=False)
class _Prefill:
    """Packed new tokens of several rows, [1, N].

    The parts attend one after the other, each from queries [key heads, group, N, size] to outputs
    [tokens, heads, size] at its `places` in the packed sequence.
    """

    parts: tuple[_Single | _Padded, ...]
    rows_N: Tensor
    positions_N: Tensor

    def write(self, stored: Tensor, new: Tensor) -> None:
        stored[self.rows_N, :, self.positions_N] = new[0].transpose(0, 1)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None) -> Tensor:
        _, heads, time, size = query.shape
        key_heads = keys.shape[1]
        query_KGND = query.view(key_heads, heads // key_heads, time, size)
        out_NHD = query.new_empty((time, heads, size))
        for part in self.parts:
            out_NHD[part.places] = part.attend(query_KGND, keys, values, scaling)
        return out_NHD[None]


@dataclass(frozen=True, slots=True, eq=False)
class _Single:
    """One chunk, without padding."""

    chunk: Chunk
    causal_PP: Tensor

    @property
    def places(self) -> slice:
        return slice(self.chunk.start, self.chunk.stop)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None) -> Tensor:
        chunk = self.chunk
        key_heads, group, _, size = query.shape
        end = chunk.first + chunk.num_tokens
        shape = (key_heads, group, end, size)
        attended = nn.functional.scaled_dot_product_attention(
            query[:, :, self.places],
            keys[chunk.row, :, None, :end].expand(shape),
            values[chunk.row, :, None, :end].expand(shape),
            attn_mask=self.causal_PP[chunk.first : end, :end] if chunk.first else None,
            is_causal=not chunk.first,
            scale=scaling,
        )
        return attended.flatten(0, 1).transpose(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Padded:
    """P chunks of similar length, padded to T tokens that attend to L positions in one call.

    Query heads that share a key head are moved to the time axis, as in `_Decode`.

    Attributes:
        rows_P: rows of the chunks.
        packed_PT: index of each token in the packed sequence; padding repeats a chunk's last.
        tokens_N: indices of the tokens, without padding, in the flattened [P * T].
        places: their indices in the packed sequence.
        mask_P1QL: added to the scores of [heads of a key * T] queries.
    """

    rows_P: Tensor
    packed_PT: Tensor
    tokens_N: Tensor
    places: Tensor
    mask_P1QL: Tensor

    @classmethod
    def from_chunks(cls, chunks: Sequence[Chunk], stored: Tensor, heads_per_key: int) -> _Padded:
        first_P, start_P, stop_P = torch.tensor([(c.first, c.start, c.stop) for c in chunks]).T
        steps_T = torch.arange(int((stop_P - start_P).max()))
        packed_PT = start_P[:, None] + steps_T
        tokens_N = (packed_PT < stop_P[:, None]).flatten().nonzero()[:, 0]
        # Kernels need aligned mask rows; the cache has a multiple of 64 positions.
        longest = -(-int((first_P + stop_P - start_P).max()) // 8) * 8
        device = stored.device
        last_PT = (first_P[:, None] + steps_T).to(device)
        blocked_PTL = torch.arange(longest, device=device) > last_PT[..., None]
        mask_PTL = torch.zeros(blocked_PTL.shape, dtype=stored.dtype, device=device)
        mask_PTL.masked_fill_(blocked_PTL, float("-inf"))
        return cls(
            rows_P=torch.tensor([chunk.row for chunk in chunks]).to(device),
            packed_PT=packed_PT.minimum(stop_P[:, None] - 1).to(device),
            tokens_N=tokens_N.to(device),
            places=packed_PT.flatten()[tokens_N].to(device),
            mask_P1QL=mask_PTL.repeat(1, heads_per_key, 1).unsqueeze(1),
        )

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None) -> Tensor:
        longest = self.mask_P1QL.shape[3]
        query_PKGTD = query[:, :, self.packed_PT].movedim(2, 0)
        attended = nn.functional.scaled_dot_product_attention(
            query_PKGTD.flatten(2, 3),
            keys[self.rows_P, :, :longest],
            values[self.rows_P, :, :longest],
            attn_mask=self.mask_P1QL,
            scale=scaling,
        )
        attended_PTKGD = attended.view(query_PKGTD.shape).movedim(3, 1)
        return attended_PTKGD.flatten(2, 3).flatten(0, 1)[self.tokens_N]


@dataclass(frozen=True, slots=True, eq=False)
class _Decode:
    """One new token for each of the first rows, [B, 1]."""

    rows_B: Tensor
    positions_B: Tensor
    mask_B11L: Tensor

    def write(self, stored: Tensor, new: Tensor) -> None:
        stored[self.rows_B, :, self.positions_B] = new[:, :, 0]

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None) -> Tensor:
        batch, heads, _, size = query.shape
        key_heads, longest = keys.shape[1], self.mask_B11L.shape[3]
        # Query heads that share a key head are moved to the time axis, so keys are not copied.
        attended = nn.functional.scaled_dot_product_attention(
            query.view(batch, key_heads, heads // key_heads, size),
            keys[:batch, :, :longest],
            values[:batch, :, :longest],
            attn_mask=self.mask_B11L,
            scale=scaling,
        )
        return attended.reshape(batch, 1, heads, size)


def _lazy_zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """Zeros like a tensor; on a Unix CPU their memory is allocated when it is first written.

    Rows of a cache are padded to the longest one, so most of its pages are never written.
    """
    size = math.prod(shape) * like.element_size()
    if not like.is_cpu or not size or not hasattr(mmap, "MAP_PRIVATE"):
        return like.new_zeros(shape)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=like.dtype).view(*shape)


def _prefers_padding(device: torch.device) -> bool:
    """Whether one padded call is faster than one call per chunk."""
    return device.type == "cuda"


def _group_by_length(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    """Group chunks so that each group needs little padding and its scores fit in memory."""
    group: list[Chunk] = []
    longest = 0  # positions that the group attends to
    for chunk in sorted(chunks, key=lambda one: one.num_tokens):
        count = chunk.num_tokens
        new_longest = max(longest, chunk.first + count)
        if group and (
            count > 2 * group[0].num_tokens + _MAX_PADDING
            or (len(group) + 1) * count * new_longest > _MAX_SCORES
        ):
            yield group
            group, new_longest = [], chunk.first + count
        group.append(chunk)
        longest = new_longest
    if group:
        yield group


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    row_cache: RowCache | None = None,
    softcap: float | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Attention function of transformers; `row_cache` is a keyword argument of the model call."""
    if row_cache is None:
        raise ValueError(
            f"{type(module).__name__} did not pass the argument row_cache to its attention; this "
            "architecture is not supported by the generator 'transformers'"
        )
    if softcap is not None:
        raise ValueError(
            f"{type(module).__name__} caps its attention logits (softcap={softcap}), which the "
            "row cache does not support; use a model without softcap"
        )
    return row_cache.plan.attend(query, key, value, scaling), None


AttentionInterface.register(ATTENTION, _attention)
