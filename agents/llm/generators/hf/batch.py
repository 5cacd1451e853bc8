"""Turns while they are written: what each episode has had read, and what is drawn for all of them.

One step count serves all turns of a batch. Where others join, each turn takes down what it has so
far and goes on in a new batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agents.llm.generators.base import agreeing_ids
from agents.llm.generators.sampling import as_int64, draw_tokens, uniforms
from agents.llm.policy.stopping import StopReason, StopRule


@dataclass(slots=True, eq=False)
class Session:
    """An episode's row in the cache; ids[:num_fed] stand in it."""

    row: int
    ids: list[int] = field(default_factory=list)
    num_fed: int = 0

    def extend_to(self, token_ids: Sequence[int]) -> int:
        """Take over a request's ids; return how many known ones they contradict."""
        known, wanted = self.ids, list(token_ids)
        agreeing = agreeing_ids(known, wanted)
        self.ids = wanted
        # The last id is always read anew: its logits are where the turn begins.
        self.num_fed = min(self.num_fed, agreeing, len(wanted) - 1)
        return len(known) - agreeing


@dataclass(slots=True, eq=False)
class Turn:
    """A turn being written; `token_ids` lacks what the batch at hand has drawn for it."""

    session: Session
    seed: int
    start: int
    limit: int
    token_mismatch: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stop_reason: StopReason | None = None

    @property
    def room(self) -> int:
        """Tokens that it may still come to."""
        return self.limit - len(self.token_ids)

    def write(self, token_ids: list[int], logprobs: list[float]) -> None:
        """Take down new tokens, which have been read but for the last."""
        self.token_ids.extend(token_ids)
        self.logprobs.extend(logprobs)
        self.session.ids.extend(token_ids)
        self.session.num_fed = len(self.session.ids) - 1


@dataclass(slots=True, eq=False)
class TurnBatch:
    """The turns being decoded, one to a row, and what was drawn for them so far.

    Attributes:
        tokens_B: the newest token of each row, which the next pass reads.
        positions_B: its place.
        tokens_BT: [B, longest turn] tokens drawn, `step` of them valid; logprobs likewise.
        length: places in use, the newest token's included.
    """

    turns: list[Turn]
    seeds_B: Tensor
    tokens_B: Tensor
    positions_B: Tensor
    tokens_BT: Tensor
    logprobs_BT: Tensor
    length: int
    step: int = 0

    @classmethod
    def of(cls, turns: list[Turn], device: torch.device) -> TurnBatch:
        """Return a batch in which nothing was drawn yet."""
        shape = (len(turns), max(turn.room for turn in turns))
        lengths = [len(turn.session.ids) for turn in turns]
        return cls(
            turns=turns,
            seeds_B=torch.tensor([as_int64(turn.seed) for turn in turns], device=device),
            tokens_B=torch.tensor([turn.session.ids[-1] for turn in turns], device=device),
            positions_B=torch.tensor([length - 1 for length in lengths], device=device),
            tokens_BT=torch.empty(shape, dtype=torch.int64, device=device),
            logprobs_BT=torch.empty(shape, device=device),
            length=max(lengths),
        )

    def append(self, logits_BV: Tensor, temperature: float, max_context: int) -> None:
        """Draw the next token of every row; rows whose turn is over write on, in no new place."""
        self.positions_B = (self.positions_B + 1).clamp_max(max_context - 1)
        uniforms_B = uniforms(self.seeds_B, self.positions_B) if temperature else None
        self.tokens_B, logprobs_B = draw_tokens(
            logits_BV, temperature=temperature, uniforms_B=uniforms_B
        )
        self.tokens_BT[:, self.step] = self.tokens_B
        self.logprobs_BT[:, self.step] = logprobs_B
        self.step += 1
        self.length += 1

    def finish(self, watched: list[int], rule: StopRule, max_context: int) -> list[Turn]:
        """Close the turns that end with their newest token, and return them."""
        full = [row for row, turn in enumerate(self.turns) if turn.room == self.step]
        ended = []
        for row in dict.fromkeys(watched + full):
            turn = self.turns[row]
            if turn.stop_reason is not None:
                continue
            reason = rule.reason(turn.token_ids + self.tokens_BT[row, : self.step].tolist())
            if reason is None and turn.room == self.step:
                reason = "context" if turn.start + turn.limit == max_context else "length"
            if reason is not None:
                self._take_down(row)
                turn.stop_reason = reason
                ended.append(turn)
        return ended

    def written(self, turn: Turn) -> list[int]:
        """Return all tokens of a turn so far."""
        if turn.stop_reason is not None or turn not in self.turns:
            return list(turn.token_ids)
        row = self.turns.index(turn)
        return turn.token_ids + self.tokens_BT[row, : self.step].tolist()

    def dissolve(self) -> list[Turn]:
        """Let each turn that goes on take down what was drawn for it, and return them."""
        alive = self.alive()
        for row in alive:
            self._take_down(row)
        return [self.turns[row] for row in alive]

    def alive(self) -> list[int]:
        """Rows whose turn goes on."""
        return [row for row, turn in enumerate(self.turns) if turn.stop_reason is None]

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows only, in this order."""
        kept = torch.tensor(rows, device=self.tokens_B.device)
        self.turns = [self.turns[row] for row in rows]
        self.seeds_B, self.tokens_B = self.seeds_B[kept], self.tokens_B[kept]
        self.positions_B = self.positions_B[kept]
        self.tokens_BT, self.logprobs_BT = self.tokens_BT[kept], self.logprobs_BT[kept]
        self.length = max(len(turn.session.ids) for turn in self.turns) + self.step

    def _take_down(self, row: int) -> None:
        drawn = slice(self.step)
        self.turns[row].write(
            self.tokens_BT[row, drawn].tolist(), self.logprobs_BT[row, drawn].tolist()
        )
