"""Keys and values of many sequences, kept while their episodes last.

A sequence owns a row and stores token t at position t. New tokens of several rows come packed in
one line, or as one token for each of the first rows; nothing is padded. What lies beyond a row's
length is masked and only has to be finite, so a row is cut back by forgetting its length.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, Cache, PreTrainedModel

ATTENTION = "zerosearch_rows"
# Pieces that differ by less are padded to one length; scores of one call, for each head that reads.
_ALIKE, _MOST_SCORES = 64, 2**25


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive new tokens of one row: packed[start:stop] stand from position `first` on."""

    row: int
    first: int
    start: int
    stop: int


class RowCache(Cache):
    """Keys and values by row and position, for every layer.

    Attributes:
        stored: [2 * layers, rows, key/value heads, positions, head size]; keys of layer l at 2l.
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
        self._sharing = config.num_attention_heads // heads
        self._causal_PP = torch.empty((0, 0), dtype=model.dtype, device=model.device)
        self._step: _Feed | _Decode | None = None

    @property
    def num_rows(self) -> int:
        """Rows there is room for."""
        return self.stored.shape[1]

    def reserve(self, rows: int, positions: int, lengths: Mapping[int, int]) -> None:
        """Grow to at least `rows` rows of `positions` positions; the cache never shrinks.

        Args:
            rows: number of rows.
            positions: positions of each row.
            lengths: by row, the number of positions that are kept.
        """
        double, old_rows, heads, old_positions, size = self.stored.shape
        if rows > old_rows or positions > old_positions:
            # A quarter more than requested, so that growing turn by turn rarely copies.
            more_positions = positions + positions // 4 if old_positions else positions
            positions = (
                old_positions if positions <= old_positions else -(-more_positions // 64) * 64
            )
            grown = _zeros((double, max(rows, old_rows), heads, positions, size), self.stored)
            for row, length in lengths.items():
                if row < old_rows:
                    grown[:, row, :, :length] = self.stored[:, row, :, :length]
            self.stored = grown

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first positions of a row over another's."""
        self.stored[:, target, :, :length] = self.stored[:, source, :, :length]

    def swap_rows(self, left: Sequence[int], right: Sequence[int], length: int) -> None:
        """Exchange rows pairwise, as far as `length` positions."""
        left, right = list(left), list(right)
        # On a CPU plane by plane, which bounds the memory of the copy.
        for stored in self.stored if self.stored.is_cpu else self.stored[None]:
            kept = stored[..., left, :, :length, :]
            stored[..., left, :, :length, :] = stored[..., right, :, :length, :]
            stored[..., right, :, :length, :] = kept

    def plan_prefill(self, pieces: Sequence[Piece]) -> Tensor:
        """Expect packed new tokens next; return their positions, [1, N]."""
        lengths = torch.tensor([piece.stop - piece.start for piece in pieces])
        rows = torch.tensor([piece.row for piece in pieces]).repeat_interleave(lengths)
        shift = torch.tensor([piece.first - piece.start for piece in pieces])
        positions = torch.arange(pieces[-1].stop) + shift.repeat_interleave(lengths)
        device = self.stored.device
        parts = self._padded(pieces) if _pads(device) else self._in_turn(pieces)
        self._step = _Feed(tuple(parts), rows.to(device), positions.to(device))
        return self._step.positions_N[None]

    def _in_turn(self, pieces: Sequence[Piece]) -> list[_InTurn]:
        longest = max(piece.first + piece.stop - piece.start for piece in pieces)
        if longest > self._causal_PP.shape[0]:
            blocked = torch.full((longest, longest), float("-inf"), dtype=self.stored.dtype)
            self._causal_PP = blocked.triu(1).to(self.stored.device)
        return [_InTurn(piece, self._causal_PP) for piece in pieces]

    def _padded(self, pieces: Sequence[Piece]) -> list[_Padded]:
        return [_Padded.of(alike, self.stored, self._sharing) for alike in _alike(pieces)]

    def plan_decode(self, positions_B: Tensor, longest: int) -> Tensor:
        """Expect one new token for each of the first B rows; return their positions, [B, 1].

        Args:
            positions_B: [B] place of each new token.
            longest: the largest of them plus one.
        """
        places = torch.arange(longest, device=positions_B.device)
        mask_BL = torch.zeros(
            (len(positions_B), longest), dtype=self.stored.dtype, device=positions_B.device
        ).masked_fill_(places > positions_B[:, None], float("-inf"))
        rows = torch.arange(len(positions_B), device=positions_B.device)
        self._step = _Decode(rows, positions_B, mask_BL[:, None, None])
        return positions_B[:, None]

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        layer_idx: int,
        *args: object,
        **kwargs: object,
    ) -> tuple[Tensor, Tensor]:
        """Store the new tokens of a layer and return all its rows; `Cache` gives the signature."""
        assert self._step is not None, "aim the cache before each forward pass"
        keys, values = self.stored[2 * layer_idx], self.stored[2 * layer_idx + 1]
        self._step.write(keys, key_states)
        self._step.write(values, value_states)
        return keys, values

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None) -> Tensor:
        """Return [batch, time, heads, size] for the new tokens that the cache was aimed at."""
        assert self._step is not None, "aim the cache before each forward pass"
        return self._step.attend(query, keys, values, scaling)


@dataclass(frozen=True, slots=True, eq=False)
class _Feed:
    """New tokens of several rows in one line, [1, N]; its parts attend one after the other."""

    parts: tuple[_InTurn | _Padded, ...]
    rows_N: Tensor
    positions_N: Tensor

    def write(self, stored: Tensor, new: Tensor) -> None:
        stored[self.rows_N, :, self.positions_N] = new[0].transpose(0, 1)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None) -> Tensor:
        _, heads, time, size = query.shape
        shared = keys.shape[1]
        query_KGND = query.view(shared, heads // shared, time, size)
        out_NHD = query.new_empty((time, heads, size))
        for part in self.parts:
            part.attend(query_KGND, keys, values, scaling, out_NHD)
        return out_NHD[None]


@dataclass(frozen=True, slots=True, eq=False)
class _InTurn:
    """One piece, without padding."""

    piece: Piece
    causal_PP: Tensor

    def attend(
        self,
        query_KGND: Tensor,
        keys: Tensor,
        values: Tensor,
        scaling: float | None,
        out_NHD: Tensor,
    ) -> None:
        """Fill in what the piece's tokens see."""
        piece = self.piece
        shared, sharing, _, size = query_KGND.shape
        end = piece.first + piece.stop - piece.start
        shape = (shared, sharing, end, size)
        attended = nn.functional.scaled_dot_product_attention(
            query_KGND[:, :, piece.start : piece.stop],
            keys[piece.row, :, None, :end].expand(shape),
            values[piece.row, :, None, :end].expand(shape),
            attn_mask=self.causal_PP[piece.first : end, :end] if piece.first else None,
            is_causal=not piece.first,
            scale=scaling,
        )
        out_NHD[piece.start : piece.stop] = attended.flatten(0, 1).transpose(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Padded:
    """P pieces of like length, padded to T tokens that see L places: one call on a GPU.

    Heads that share keys become the time axis, as where one token is decoded.

    Attributes:
        rows_P: their rows.
        packed_PT: where in the line their tokens are; padding repeats a piece's last.
        tokens_N: which of the flattened [P * T] are tokens, not padding.
        places_N: where in the line those are.
        mask_P1QL: added to the scores of [sharing heads * T] queries.
    """

    rows_P: Tensor
    packed_PT: Tensor
    tokens_N: Tensor
    places_N: Tensor
    mask_P1QL: Tensor

    @classmethod
    def of(cls, pieces: Sequence[Piece], stored: Tensor, sharing: int) -> _Padded:
        first_P, start_P, stop_P = torch.tensor([(p.first, p.start, p.stop) for p in pieces]).T
        steps_T = torch.arange(int((stop_P - start_P).max()))
        packed_PT = start_P[:, None] + steps_T
        tokens_N = (packed_PT < stop_P[:, None]).flatten().nonzero()[:, 0]
        # Kernels want a mask whose rows are aligned; there is room, in steps of 64 places.
        longest = -(-int((first_P + stop_P - start_P).max()) // 8) * 8
        device = stored.device
        last_PT = (first_P[:, None] + steps_T).to(device)
        blocked_PTL = torch.arange(longest, device=device) > last_PT[..., None]
        mask_PTL = torch.zeros(blocked_PTL.shape, dtype=stored.dtype, device=device)
        mask_PTL.masked_fill_(blocked_PTL, float("-inf"))
        return cls(
            rows_P=torch.tensor([piece.row for piece in pieces]).to(device),
            packed_PT=packed_PT.minimum(stop_P[:, None] - 1).to(device),
            tokens_N=tokens_N.to(device),
            places_N=packed_PT.flatten()[tokens_N].to(device),
            mask_P1QL=mask_PTL.repeat(1, sharing, 1).unsqueeze(1),
        )

    def attend(
        self,
        query_KGND: Tensor,
        keys: Tensor,
        values: Tensor,
        scaling: float | None,
        out_NHD: Tensor,
    ) -> None:
        """Fill in what the pieces' tokens see."""
        longest = self.mask_P1QL.shape[3]
        query_PKGTD = query_KGND[:, :, self.packed_PT].movedim(2, 0)
        attended = nn.functional.scaled_dot_product_attention(
            query_PKGTD.flatten(2, 3),
            keys[self.rows_P, :, :longest],
            values[self.rows_P, :, :longest],
            attn_mask=self.mask_P1QL,
            scale=scaling,
        )
        attended_PTKGD = attended.view(query_PKGTD.shape).movedim(3, 1)
        out_NHD[self.places_N] = attended_PTKGD.flatten(2, 3).flatten(0, 1)[self.tokens_N]


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
        shared, longest = keys.shape[1], self.mask_B11L.shape[3]
        # Heads that share keys become the time axis, so that keys are read once and not copied.
        attended = nn.functional.scaled_dot_product_attention(
            query.view(batch, shared, heads // shared, size),
            keys[:batch, :, :longest],
            values[:batch, :, :longest],
            attn_mask=self.mask_B11L,
            scale=scaling,
        )
        return attended.reshape(batch, 1, heads, size)


def _pads(device: torch.device) -> bool:
    """Whether one padded call costs less than a call for each piece."""
    return device.type == "cuda"


def _alike(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Cut pieces into parts that little is padded in, and whose scores fit in memory."""
    part: list[Piece] = []
    places = 0
    for piece in sorted(pieces, key=lambda one: one.stop - one.start):
        count = piece.stop - piece.start
        seen = max(places, piece.first + count)
        if part and (
            count > 2 * (part[0].stop - part[0].start) + _ALIKE
            or (len(part) + 1) * count * seen > _MOST_SCORES
        ):
            yield part
            part, seen = [], piece.first + count
        part.append(piece)
        places = seen
    if part:
        yield part


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
    """Attention as transformers calls it; `row_cache` comes through the model's own arguments."""
    if row_cache is None:
        raise ValueError(
            f"{type(module).__name__} did not hand the argument row_cache on to its attention; "
            "this architecture cannot keep its cache by rows"
        )
    if softcap is not None:
        raise ValueError(
            f"{type(module).__name__} caps its attention logits (softcap={softcap}), which the "
            "row cache does not do; use a model without it"
        )
    return row_cache.attend(query, key, value, scaling), None


AttentionInterface.register(ATTENTION, _attention)


def _zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """Zeros of a shape; on a Unix CPU, memory pages are allocated when they are first written.

    Rows are padded to the longest one, so most pages of a cache are never written.
    """
    size = math.prod(shape) * like.element_size()
    if not like.is_cpu or not size or not hasattr(mmap, "MAP_PRIVATE"):
        return like.new_zeros(shape)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=like.dtype).view(*shape)
