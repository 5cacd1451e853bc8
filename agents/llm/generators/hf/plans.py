"""The new tokens of a forward pass: where their keys are stored and what they attend to.

New tokens of several rows are packed into one sequence (`Prefill`), or there is one token for each
of the first rows (`Decode`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agents.llm.generators.hf.attention import MaskRule, Scoring

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


@dataclass(frozen=True, slots=True, eq=False)
class Prefill:
    """Packed new tokens of several rows, [1, N].

    The parts attend one after the other, each from queries [key heads, group, N, size] to outputs
    [tokens, heads, size] at its `places` in the packed sequence.
    """

    parts: tuple[_Single | _Padded, ...]
    rows_N: Tensor
    positions_N: Tensor
    biases: dict[MaskRule, list[Tensor | None]] = field(default_factory=dict)

    @classmethod
    def from_chunks(cls, chunks: Sequence[Chunk], device: torch.device) -> Prefill:
        """Plan the attention of packed chunks."""
        lengths = torch.tensor([chunk.num_tokens for chunk in chunks])
        rows = torch.tensor([chunk.row for chunk in chunks]).repeat_interleave(lengths)
        shift = torch.tensor([chunk.first - chunk.start for chunk in chunks])
        positions = torch.arange(chunks[-1].stop) + shift.repeat_interleave(lengths)
        if _prefers_padding(device):
            parts: Sequence[_Single | _Padded] = [
                _Padded.from_chunks(similar, device) for similar in _group_by_length(chunks)
            ]
        else:
            parts = [_Single(chunk) for chunk in chunks]
        return cls(tuple(parts), rows.to(device), positions.to(device))

    def write(self, stored: Tensor, new: Tensor) -> None:
        stored[self.rows_N, :, self.positions_N] = new[0].transpose(0, 1)

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, rule: MaskRule, scoring: Scoring
    ) -> Tensor:
        _, heads, time, size = query.shape
        key_heads = keys.shape[1]
        query_KGND = query.view(key_heads, heads // key_heads, time, size)
        if rule not in self.biases:  # the layers with one rule share its masks
            self.biases[rule] = [part.bias(rule, query_KGND) for part in self.parts]
        out_NHD = query.new_empty((time, heads, size))
        for part, bias in zip(self.parts, self.biases[rule], strict=True):
            out_NHD[part.places] = part.attend(query_KGND, keys, values, bias, scoring)
        return out_NHD[None]


@dataclass(frozen=True, slots=True, eq=False)
class _Single:
    """One chunk, without padding."""

    chunk: Chunk

    @property
    def places(self) -> slice:
        return slice(self.chunk.start, self.chunk.stop)

    @property
    def end(self) -> int:
        return self.chunk.first + self.chunk.num_tokens

    def bias(self, rule: MaskRule, query: Tensor) -> Tensor | None:
        """[tokens, newest keys] of which no token attends to an earlier one; None if causal."""
        first = self.chunk.first
        if not first and rule.is_causal(self.end):
            return None
        positions = torch.arange(rule.first_key(first), self.end, device=query.device)
        return rule.bias(positions[-self.chunk.num_tokens :], positions, query.dtype)

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None, scoring: Scoring
    ) -> Tensor:
        key_heads, group, _, size = query.shape
        used = slice(0 if bias is None else self.end - bias.shape[-1], self.end)
        shape = (key_heads, group, used.stop - used.start, size)
        sinks_KG1 = scoring.sinks_KG1
        attended = scoring.attend(
            query[:, :, self.places],
            keys[self.chunk.row, :, None, used].expand(shape),
            values[self.chunk.row, :, None, used].expand(shape),
            bias,
            None if sinks_KG1 is None else sinks_KG1[..., None],
        )
        return attended.flatten(0, 1).transpose(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Padded:
    """P chunks of similar length, padded to T tokens that attend to L positions in one call.

    Query heads that share a key head are moved to the time axis, as in `Decode`.

    Attributes:
        rows_P: rows of the chunks.
        packed_PT: index of each token in the packed sequence; padding repeats a chunk's last.
        positions_PT: position of each token in its row.
        tokens_N: indices of the tokens, without padding, in the flattened [P * T].
        places: their indices in the packed sequence.
        longest: L.
    """

    rows_P: Tensor
    packed_PT: Tensor
    positions_PT: Tensor
    tokens_N: Tensor
    places: Tensor
    longest: int

    @classmethod
    def from_chunks(cls, chunks: Sequence[Chunk], device: torch.device) -> _Padded:
        first_P, start_P, stop_P = torch.tensor([(c.first, c.start, c.stop) for c in chunks]).T
        steps_T = torch.arange(int((stop_P - start_P).max()))
        packed_PT = start_P[:, None] + steps_T
        tokens_N = (packed_PT < stop_P[:, None]).flatten().nonzero()[:, 0]
        return cls(
            rows_P=torch.tensor([chunk.row for chunk in chunks]).to(device),
            packed_PT=packed_PT.minimum(stop_P[:, None] - 1).to(device),
            positions_PT=(first_P[:, None] + steps_T).to(device),
            tokens_N=tokens_N.to(device),
            places=packed_PT.flatten()[tokens_N].to(device),
            # Kernels need aligned mask rows; the cache has a multiple of 64 positions.
            longest=-(-int((first_P + stop_P - start_P).max()) // 8) * 8,
        )

    def bias(self, rule: MaskRule, query: Tensor) -> Tensor:
        """[P, 1, heads of a key * T, L] values added to the scores."""
        keys = torch.arange(self.longest, device=query.device)
        bias_PTL = rule.bias(self.positions_PT, keys, query.dtype)
        return bias_PTL.repeat(1, query.shape[1], 1).unsqueeze(1)

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None, scoring: Scoring
    ) -> Tensor:
        query_PKGTD = query[:, :, self.packed_PT].movedim(2, 0)
        sinks_KG1 = scoring.sinks_KG1
        attended = scoring.attend(
            query_PKGTD.flatten(2, 3),
            keys[self.rows_P, :, : self.longest],
            values[self.rows_P, :, : self.longest],
            bias,
            None if sinks_KG1 is None else sinks_KG1.repeat_interleave(query_PKGTD.shape[3], 1),
        )
        attended_PTKGD = attended.view(query_PKGTD.shape).movedim(3, 1)
        return attended_PTKGD.flatten(2, 3).flatten(0, 1)[self.tokens_N]


@dataclass(frozen=True, slots=True, eq=False)
class Decode:
    """One new token for each of the first rows, [B, 1], which attend to `longest` positions."""

    rows_B: Tensor
    positions_B: Tensor
    longest: int
    biases: dict[MaskRule, Tensor] = field(default_factory=dict)

    def write(self, stored: Tensor, new: Tensor) -> None:
        stored[self.rows_B, :, self.positions_B] = new[:, :, 0]

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, rule: MaskRule, scoring: Scoring
    ) -> Tensor:
        batch, heads, _, size = query.shape
        key_heads = keys.shape[1]
        if rule not in self.biases:
            places = torch.arange(self.longest, device=query.device)
            bias_BL = rule.bias(self.positions_B, places, query.dtype)
            self.biases[rule] = bias_BL[:, None, None]
        # Query heads that share a key head are moved to the time axis, so keys are not copied.
        attended = scoring.attend(
            query.view(batch, key_heads, heads // key_heads, size),
            keys[:batch, :, : self.longest],
            values[:batch, :, : self.longest],
            self.biases[rule],
            scoring.sinks_KG1,
        )
        return attended.reshape(batch, 1, heads, size)


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
