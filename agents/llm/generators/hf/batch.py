"""Turns that are decoded together.

All turns of a batch share one step count. When other turns join, the sampled tokens are moved from
the batch to the turns, and a new batch starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agents.llm.generators.base import common_prefix_length
from agents.llm.generators.sampling import as_int64, sample_tokens, uniforms
from agents.llm.policy.stopping import StopReason, StopRule


@dataclass(slots=True, eq=False)
class Session:
    """The ids of an episode and its row in the KV cache; ids[:num_cached] are in the cache."""

    row: int
    ids: list[int] = field(default_factory=list)
    num_cached: int = 0

    def update_ids(self, token_ids: Sequence[int]) -> int:
        """Replace the ids by those of a request; return how many known ids differ."""
        known, ids = self.ids, list(token_ids)
        common = common_prefix_length(known, ids)
        self.ids = ids
        # The last id is always processed again: its logits give the first token of the turn.
        self.num_cached = min(self.num_cached, common, len(ids) - 1)
        return len(known) - common


@dataclass(slots=True, eq=False)
class Turn:
    """A turn in progress; tokens of the current batch are not in `token_ids` yet."""

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
        """Number of tokens that may follow `token_ids`."""
        return self.limit - len(self.token_ids)

    def extend(self, token_ids: list[int], logprobs: list[float]) -> None:
        """Add new tokens; all but the last are in the cache."""
        self.token_ids.extend(token_ids)
        self.logprobs.extend(logprobs)
        self.session.ids.extend(token_ids)
        self.session.num_cached = len(self.session.ids) - 1


@dataclass(slots=True, eq=False)
class TurnBatch:
    """Turns, one per row, and the tokens sampled for them in this batch.

    Attributes:
        turns: [B] turns; ended ones keep their row until `select_rows`.
        tokens_B: newest token of each row, the input of the next forward pass.
        positions_B: its position.
        tokens_BT: [B, longest turn] sampled tokens, of which the first `step` are valid.
        length: number of positions in use, including the newest token's.
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
    def from_turns(cls, turns: list[Turn], device: torch.device) -> TurnBatch:
        """Return a batch without sampled tokens."""
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

    def sample(self, logits_BV: Tensor, temperature: float, max_context: int) -> None:
        """Sample the next token of every row. Rows of ended turns stay below `max_context`."""
        self.positions_B = (self.positions_B + 1).clamp_max(max_context - 1)
        uniforms_B = uniforms(self.seeds_B, self.positions_B) if temperature else None
        self.tokens_B, logprobs_B = sample_tokens(
            logits_BV, temperature=temperature, uniforms_B=uniforms_B
        )
        self.tokens_BT[:, self.step] = self.tokens_B
        self.logprobs_BT[:, self.step] = logprobs_B
        self.step += 1
        self.length += 1

    def end_turns(self, watched: list[int], rule: StopRule, max_context: int) -> list[Turn]:
        """End and return the turns that stop here; `watched` are rows whose token may end them."""
        full = [row for row, turn in enumerate(self.turns) if turn.room == self.step]
        ended = []
        for row in dict.fromkeys(watched + full):
            turn = self.turns[row]
            if turn.stop_reason is not None:
                continue
            reason = rule.reason(self.partial_turn(turn))
            if reason is None and turn.room == self.step:
                reason = "context" if turn.start + turn.limit == max_context else "length"
            if reason is not None:
                self._flush_row(row)
                turn.stop_reason = reason
                ended.append(turn)
        return ended

    def partial_turn(self, turn: Turn) -> list[int]:
        """All ids of a turn so far."""
        if turn.stop_reason is not None or turn not in self.turns:
            return list(turn.token_ids)
        row = self.turns.index(turn)
        return turn.token_ids + self.tokens_BT[row, : self.step].tolist()

    def flush(self) -> list[Turn]:
        """Move the sampled tokens to their unfinished turns, and return these turns."""
        rows = self.unfinished_rows()
        for row in rows:
            self._flush_row(row)
        return [self.turns[row] for row in rows]

    def unfinished_rows(self) -> list[int]:
        """Rows whose turn has not ended."""
        return [row for row, turn in enumerate(self.turns) if turn.stop_reason is None]

    def select_rows(self, rows: list[int]) -> None:
        """Keep only these rows, in this order."""
        kept = torch.tensor(rows, device=self.tokens_B.device)
        self.turns = [self.turns[row] for row in rows]
        self.seeds_B, self.tokens_B = self.seeds_B[kept], self.tokens_B[kept]
        self.positions_B = self.positions_B[kept]
        self.tokens_BT, self.logprobs_BT = self.tokens_BT[kept], self.logprobs_BT[kept]
        self.length = max(len(turn.session.ids) for turn in self.turns) + self.step

    def _flush_row(self, row: int) -> None:
        logprobs = self.logprobs_BT[row, : self.step].tolist()
        self.turns[row].extend(self.tokens_BT[row, : self.step].tolist(), logprobs)
