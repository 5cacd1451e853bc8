"""The generator that runs in process on transformers and keeps its key-value cache between turns.

An episode's new ids are read without padding, equal prompts once; then all episodes are decoded
together, and those that are over leave the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from agents.llm.generator import Generation, GenerationRequest
from agents.llm.kv_cache import ATTENTION, Piece, RowCache
from agents.llm.policy import Policy
from agents.llm.sampling import Sampling, as_int64, draw_tokens, uniforms
from agents.llm.stopping import StopReason, StopRule

# New tokens per forward pass: bounds the memory of a pass, large enough to keep matrices full.
_FEED_TOKENS = 8192
# The batch is compacted when this part of it is over: moving a row costs a few steps of it.
_COMPACT_AT = 1 / 8


@dataclass(slots=True, eq=False)
class _Session:
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
class _Turn:
    """A turn being written."""

    session: _Session
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


class TransformersGenerator:
    """Generates with a transformers causal language model.

    While it generates, the model is in evaluation mode and its attention reads the row cache;
    afterwards both are as before.

    Args:
        policy: its model is read in place: after an update call `load_weights()`.
        max_context: longest sequence in tokens; the model's own limit where that is smaller.
    """

    def __init__(self, policy: Policy, *, max_context: int | None = None) -> None:
        self.policy = policy
        self.max_context = min(max_context or policy.max_context, policy.max_context)
        self.weight_version = 0
        self._stop = StopRule(policy)
        watched_V = torch.zeros(policy.vocabulary_size, dtype=torch.bool)
        watched_V[sorted(self._stop.watched)] = True
        self._watched_V = watched_V.to(policy.model.device)
        self._cache = RowCache(policy.model)
        self._sessions: dict[int, _Session] = {}

    def generate(
        self, requests: Sequence[GenerationRequest], sampling: Sampling
    ) -> list[Generation]:
        """Write one turn per request, in the same order.

        Raises:
            ValueError: if a request holds no ids, or two name one session.
            FloatingPointError: if the model's logits are not finite.
        """
        if len({request.session for request in requests}) != len(requests):
            raise ValueError("two requests name the same session; give each episode its own")
        taken = {session.row for session in self._sessions.values()}
        free_rows = (row for row in count() if row not in taken)
        turns = [self._open(request, free_rows, sampling) for request in requests]
        going = [turn for turn in turns if turn.limit > 0]
        if going:
            with _reading_rows(self.policy.model), torch.inference_mode():
                sessions = [turn.session for turn in going]
                # Rows of finished turns run on until the batch is compacted, hence both maxima.
                positions = max(turn.start for turn in going) + max(turn.limit for turn in going)
                self._cache.reserve(len(self._sessions), positions)
                self._gather_rows(sessions)
                self._feed(sessions)
                going.sort(key=lambda turn: turn.session.row)
                self._decode(going, sampling.temperature)
        if not all(isfinite(logprob) for turn in going for logprob in turn.logprobs):
            self.close()
            raise FloatingPointError(
                f"the logits of policy {self.policy.name!r} are not finite; its weights have "
                "diverged: go back to a checkpoint and lower the learning rate"
            )
        return [
            Generation(
                token_ids=tuple(turn.token_ids),
                logprobs=tuple(turn.logprobs),
                stop_reason=turn.stop_reason or "context",
                drift=turn.drift,
                weight_version=self.weight_version,
            )
            for turn in turns
        ]

    def release(self, sessions: Iterable[int]) -> None:
        """Forget sessions that go no further; unknown ones are ignored."""
        for name in sessions:
            self._sessions.pop(name, None)

    def load_weights(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Sample from new weights from now on; None where the model was updated in place."""
        if weights is not None:
            self.policy.model.load_state_dict(weights)
        self.weight_version += 1
        self._sessions.clear()

    def close(self) -> None:
        """Give back the cache."""
        self._sessions.clear()
        self._cache = RowCache(self.policy.model)

    def _open(
        self, request: GenerationRequest, free_rows: Iterator[int], sampling: Sampling
    ) -> _Turn:
        if not request.token_ids:
            raise ValueError(f"session {request.session} has no ids; begin with a prompt")
        session = self._sessions.get(request.session)
        if session is None:
            session = self._sessions[request.session] = _Session(next(free_rows))
        drift = session.extend_to(request.token_ids)
        start = len(session.ids)
        limit = min(sampling.max_new_tokens, self.max_context - start)
        return _Turn(session, request.seed, start, limit, drift)

    def _gather_rows(self, wanted: list[_Session]) -> None:
        """Bring sessions into the first rows, where they are decoded together."""
        outside = [session for session in wanted if session.row >= len(wanted)]
        used = {session.row for session in wanted}
        free = [row for row in range(len(wanted)) if row not in used]
        self._swap(outside, free, max(session.num_fed for session in self._sessions.values()))

    def _swap(self, moving: Sequence[_Session], rows: Sequence[int], length: int) -> None:
        """Move sessions to rows; whoever owns those rows moves the other way."""
        if not moving:
            return
        owners = {session.row: session for session in self._sessions.values()}
        self._cache.swap_rows([session.row for session in moving], rows, length)
        for session, row in zip(moving, rows, strict=True):
            if row in owners:
                owners[row].row = session.row
            session.row = row

    def _feed(self, sessions: list[_Session]) -> None:
        """Read all ids but the last of each session; equal new ones are read once."""
        leaders: dict[object, _Session] = {}
        followers: list[tuple[_Session, _Session]] = []
        for session in sessions:
            if session.num_fed < len(session.ids) - 1:
                key = session.row if session.num_fed else tuple(session.ids[:-1])
                leader = leaders.setdefault(key, session)
                if leader is not session:
                    followers.append((leader, session))
        for packed_ids, pieces in _pack(leaders.values()):
            positions = self._cache.aim_feed(pieces)
            ids = torch.tensor([packed_ids], device=positions.device)
            self._run(self.policy.model.base_model, ids, positions)
        for leader, session in followers:
            self._cache.copy_row(leader.row, session.row, len(leader.ids) - 1)

    def _decode(self, turns: list[_Turn], temperature: float) -> None:
        """Write turns that lie in the rows 0, 1, 2, … until each is over."""
        batch = _Batch.of(turns, self.policy.model.device)
        while True:
            position_ids = self._cache.aim_decode(batch.positions_B, batch.length)
            out = self._run(self.policy.model, batch.tokens_B[:, None], position_ids)
            batch.append(out.logits[:, -1], temperature)
            watched = self._watched_V[batch.tokens_B].nonzero().flatten().tolist()
            batch.finish(watched, self._stop, self.max_context)
            alive = batch.alive()
            if not alive:
                return
            if len(batch.turns) - len(alive) > len(batch.turns) * _COMPACT_AT:
                batch.keep(self._compact(batch.turns, alive, batch.length))

    def _compact(self, turns: list[_Turn], alive: list[int], length: int) -> list[int]:
        """Bring the turns that go on into the first rows; return which turn lies in each."""
        count = len(alive)
        kept = set(alive)
        holes = [row for row in range(count) if row not in kept]
        movers = [row for row in alive if row >= count]
        self._swap([turns[row].session for row in movers], holes, length)
        moved = dict(zip(holes, movers, strict=True))
        return [moved.get(row, row) for row in range(count)]

    def _run(self, module: nn.Module, ids: Tensor, position_ids: Tensor) -> Any:
        return module(
            input_ids=ids,
            position_ids=position_ids,
            past_key_values=self._cache,
            use_cache=True,
            row_cache=self._cache,
        )


@dataclass(slots=True, eq=False)
class _Batch:
    """The turns being decoded, one to a row, and what was drawn for them so far.

    Attributes:
        tokens_B: the newest token of each row, which the next pass reads.
        positions_B: its place.
        tokens_BT: [B, longest turn] tokens drawn, `step` of them valid; logprobs likewise.
        length: places in use, the newest token's included.
    """

    turns: list[_Turn]
    seeds_B: Tensor
    tokens_B: Tensor
    positions_B: Tensor
    tokens_BT: Tensor
    logprobs_BT: Tensor
    length: int
    step: int = 0

    @classmethod
    def of(cls, turns: list[_Turn], device: torch.device) -> _Batch:
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


def _pack(sessions: Iterable[_Session]) -> Iterator[tuple[list[int], list[Piece]]]:
    """Put the unread ids of sessions, all but each last, into lines of bounded length."""
    ids: list[int] = []
    pieces: list[Piece] = []
    for session in sessions:
        unread = session.ids[session.num_fed : -1]
        if ids and len(ids) + len(unread) > _FEED_TOKENS:
            yield ids, pieces
            ids, pieces = [], []
        pieces.append(Piece(session.row, session.num_fed, len(ids), len(ids) + len(unread)))
        ids.extend(unread)
    if ids:
        yield ids, pieces


@contextmanager
def _reading_rows(model: PreTrainedModel) -> Iterator[None]:
    """Exchange the model's attention for the row cache's, and switch dropout off."""
    implementation, training = model.config._attn_implementation or "sdpa", model.training
    model.set_attn_implementation(ATTENTION)
    model.eval()
    try:
        yield
    finally:
        model.set_attn_implementation(implementation)
        model.train(training)
