"""Turns while they are written: what each episode has had read, and what is drawn for all of them.

All turns of a batch begin at once, so one step count serves them; their places differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agents.llm.sampling import as_int64, draw_tokens, uniforms
from agents.llm.stopping import StopReason, StopRule


@dataclass(slots=True, eq=False)
class Session:
    """An episode's row in the cache; ids[:num_fed] stand in it."""

    row: int
    ids: list[int] = field(default_factory=list)
    num_fed: int = 0

    def extend_to(self, token_ids: Sequence[int]) -> int:
        """Take over a request's ids; return how many known ones they contradict."""
        known, wanted = self.ids, list(token_ids)
        agreeing = len(known)
        if wanted[:agreeing] != known:
            pairs = zip(known, wanted, strict=False)
            agreeing = next((i for i, (a, b) in enumerate(pairs) if a != b), len(wanted))
        self.ids = wanted
        # The last id is always read anew: its logits are where the turn begins.
        self.num_fed = min(self.num_fed, agreeing, len(wanted) - 1)
        return len(known) - agreeing


@dataclass(slots=True, eq=False)
class Turn:
    """A turn being written."""

    session: Session
    seed: int
    start: int
    limit: int
    drift: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stop_reason: StopReason | None = None

    def finish(self, token_ids: list[int], logprobs: list[float], reason: StopReason) -> None:
        self.token_ids, self.logprobs, self.stop_reason = token_ids, logprobs, reason
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
        shape = (len(turns), max(turn.limit for turn in turns))
        return cls(
            turns=turns,
            seeds_B=torch.tensor([as_int64(turn.seed) for turn in turns], device=device),
            tokens_B=torch.tensor([turn.session.ids[-1] for turn in turns], device=device),
            positions_B=torch.tensor([turn.start - 1 for turn in turns], device=device),
            tokens_BT=torch.empty(shape, dtype=torch.int64, device=device),
            logprobs_BT=torch.empty(shape, device=device),
            length=max(turn.start for turn in turns),
        )

    def append(self, logits_BV: Tensor, temperature: float) -> None:
        """Draw the next token of every row."""
        self.positions_B = self.positions_B + 1
        uniforms_B = uniforms(self.seeds_B, self.positions_B) if temperature else None
        self.tokens_B, logprobs_B = draw_tokens(
            logits_BV, temperature=temperature, uniforms_B=uniforms_B
        )
        self.tokens_BT[:, self.step] = self.tokens_B
        self.logprobs_BT[:, self.step] = logprobs_B
        self.step += 1
        self.length += 1

    def finish(self, watched: list[int], rule: StopRule, max_context: int) -> None:
        """Close the turns that end with their newest token."""
        full = [row for row, turn in enumerate(self.turns) if turn.limit == self.step]
        for row in dict.fromkeys(watched + full):
            turn = self.turns[row]
            if turn.stop_reason is not None:
                continue
            token_ids = self.tokens_BT[row, : self.step].tolist()
            reason = rule.reason(token_ids)
            if reason is None and turn.limit == self.step:
                reason = "context" if turn.start + turn.limit == max_context else "length"
            if reason is not None:
                turn.finish(token_ids, self.logprobs_BT[row, : self.step].tolist(), reason)

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
        self.length = max(turn.start for turn in self.turns) + self.step
