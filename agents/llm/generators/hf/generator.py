"""The generator that runs in process on transformers and keeps its key-value cache between turns.

An episode's new ids are read without padding, equal prompts once; then all episodes are decoded
together. Those whose turn is over leave the batch, and others may join it at any token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import count
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from agents.llm.generators.base import (
    Generation,
    GenerationRequest,
    check_idle,
    check_requests,
    never,
)
from agents.llm.generators.hf.batch import Session, Turn, TurnBatch
from agents.llm.generators.hf.cuda_graphs import make_decoding
from agents.llm.generators.hf.kv_cache import ATTENTION, Piece, RowCache
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.attention import attention_implementation
from agents.llm.policy.policy import Policy
from agents.llm.policy.stopping import StopRule

# New tokens per forward pass: bounds the memory of a pass, large enough to keep matrices full.
_FEED_TOKENS = 8192
# The batch is compacted when this part of it is over: moving a row costs a few steps of it.
_COMPACT_AT = 1 / 8
# Turns join once there are as many as this part of those being written, or after so many tokens: on
# a GPU to read few new ids takes as long as to read many.
_JOIN_AT, _JOIN_WITHIN = 1 / 2, 32


class TransformersGenerator:
    """Generates with a transformers causal language model.

    While it advances, the model is in evaluation mode and its attention reads the row cache;
    afterwards both are as before.

    Args:
        policy: after an update of its model call `load_weights()`.
        max_context: longest sequence in tokens; the model's own limit where that is smaller.
        dtype: read a copy of the model in this type, which takes as much memory again and changes
            with `load_weights` only; None reads the model itself.
    """

    def __init__(
        self, policy: Policy, *, max_context: int | None = None, dtype: torch.dtype | None = None
    ) -> None:
        self.policy = policy
        self._model = policy.model
        if dtype is not None:
            self._model = _with_dtype(policy.model, dtype)
        self.max_context = min(max_context or policy.max_context, policy.max_context)
        self._stop = StopRule(policy.codec)
        watched_V = torch.zeros(policy.vocabulary_size, dtype=torch.bool)
        watched_V[sorted(self._stop.watched)] = True
        self._watched_V = watched_V.to(policy.model.device)
        self._make_cache()
        self._sessions: dict[int, Session] = {}
        self._turns: dict[int, Turn] = {}  # by session, all that are being written
        self._joining: list[Turn] = []
        self._waited = 0  # tokens that others wrote meanwhile
        self._batch: TurnBatch | None = None
        self._temperature = 1.0

    def submit(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
        """Begin one turn per request, beside those that are being written already.

        Raises:
            ValueError: if a request holds no ids, a turn of its session is being written, or the
                others are written at another temperature.
        """
        check_requests(requests, self._turns)
        if self._turns and sampling.temperature != self._temperature:
            raise ValueError(
                f"got temperature {sampling.temperature} while turns are being written at "
                f"{self._temperature}; let them end first"
            )
        self._temperature = sampling.temperature
        taken = {session.row for session in self._sessions.values()}
        free_rows = (row for row in count() if row not in taken)
        for request in requests:
            turn = self._open(request, free_rows, sampling)
            self._turns[request.session] = turn
            if turn.stop_reason is None:
                self._joining.append(turn)

    def poll(self, should_yield: Callable[[], bool] = never) -> dict[int, Generation]:
        """Write on until a turn ends or `should_yield()`, and return by session those that have ended.

        Raises:
            FloatingPointError: if the model's logits are not finite.
        """
        ended = any(turn.stop_reason is not None for turn in self._turns.values())
        if self._turns and not ended:
            with _reading_rows(self._model), torch.inference_mode():
                while not (ended or should_yield()):
                    if self._joining:
                        self._join_or_wait()
                    ended = self._step()
        over = {name: turn for name, turn in self._turns.items() if turn.stop_reason is not None}
        for name in over:
            del self._turns[name]
        return {name: self._generation(turn) for name, turn in over.items()}

    def partial_turn(self, session: int) -> list[int]:
        """Ids sampled so far in the unfinished turn of a session."""
        turn = self._turns[session]
        return self._batch.written(turn) if self._batch else list(turn.token_ids)

    def release(self, sessions: Iterable[int]) -> None:
        """Forget sessions that go no further, their turns too; unknown ones are ignored."""
        for name in sessions:
            self._sessions.pop(name, None)
            turn = self._turns.pop(name, None)
            if turn is not None:
                turn.stop_reason = "length"  # its row in the batch is no longer heeded
                self._joining = [one for one in self._joining if one is not turn]

    def load_weights(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Sample from new weights from now on; None where the model was updated in place.

        Raises:
            RuntimeError: while turns are being written.
        """
        check_idle(len(self._turns))
        if weights is not None:
            self.policy.model.load_state_dict(weights)
        if self._model is not self.policy.model:
            _copy_weights(self.policy.model, self._model)
        self._sessions.clear()
        self._batch = None

    def close(self) -> None:
        """Give back the cache, and forget every turn."""
        self._sessions.clear()
        self._turns.clear()
        self._joining.clear()
        self._batch = None
        self._make_cache()

    def _make_cache(self) -> None:
        self._cache = RowCache(self._model)
        self._decoding = make_decoding(
            self._cache, lambda ids, positions: self._run(self._model, ids, positions).logits
        )

    def _open(
        self, request: GenerationRequest, free_rows: Iterator[int], sampling: Sampling
    ) -> Turn:
        session = self._sessions.get(request.session)
        if session is None:
            session = self._sessions[request.session] = Session(next(free_rows))
        token_mismatch = session.extend_to(request.token_ids)
        start = len(session.ids)
        limit = min(sampling.max_new_tokens, self.max_context - start)
        turn = Turn(session, request.seed, start, limit, token_mismatch)
        if limit <= 0:
            turn.stop_reason = "context"
        return turn

    def _generation(self, turn: Turn) -> Generation:
        if not all(map(isfinite, turn.logprobs)):
            self.close()
            raise FloatingPointError(
                f"the logits of policy {self.policy.name!r} are not finite; its weights have "
                "diverged: lower the learning rate and train again, from --policy CHECKPOINT into "
                "another --output"
            )
        assert turn.stop_reason is not None
        return Generation(
            token_ids=tuple(turn.token_ids),
            logprobs=tuple(turn.logprobs),
            stop_reason=turn.stop_reason,
            token_mismatch=turn.token_mismatch,
        )

    def _join_or_wait(self) -> None:
        """Join where there are many beside those being written, or where they waited for long."""
        alive = len(self._batch.alive()) if self._batch is not None else 0
        if len(self._joining) >= alive * _JOIN_AT or self._waited == _JOIN_WITHIN:
            self._join()
        else:
            self._waited += 1

    def _join(self) -> None:
        """Read what the joining turns have new, and make one batch of them and the others."""
        going = (self._batch.dissolve() if self._batch is not None else []) + self._joining
        self._joining, self._waited = [], 0
        sessions = [turn.session for turn in going]
        # Rows of finished turns run on until the batch is compacted, hence both maxima.
        positions = max(len(one.ids) for one in sessions) + max(turn.room for turn in going)
        lengths = {session.row: session.num_fed for session in self._sessions.values()}
        self._cache.reserve(*self._decoding.room(len(self._sessions), positions), lengths)
        self._gather_rows(sessions)
        self._feed(sessions)
        # The cache decodes its first rows, in their order.
        going.sort(key=lambda turn: turn.session.row)
        self._batch = TurnBatch.of(going, self.policy.model.device)

    def _gather_rows(self, wanted: list[Session]) -> None:
        """Bring sessions into the first rows, where they are decoded together."""
        outside = [session for session in wanted if session.row >= len(wanted)]
        used = {session.row for session in wanted}
        free = [row for row in range(len(wanted)) if row not in used]
        self._swap(outside, free, max(session.num_fed for session in self._sessions.values()))

    def _swap(self, moving: Sequence[Session], rows: Sequence[int], length: int) -> None:
        """Move sessions to rows; whoever owns those rows moves the other way."""
        if not moving:
            return
        owners = {session.row: session for session in self._sessions.values()}
        self._cache.swap_rows([session.row for session in moving], rows, length)
        for session, row in zip(moving, rows, strict=True):
            if row in owners:
                owners[row].row = session.row
            session.row = row

    def _feed(self, sessions: list[Session]) -> None:
        """Read all ids but the last of each session; equal new ones are read once."""
        leaders: dict[object, Session] = {}
        followers: list[tuple[Session, Session]] = []
        for session in sessions:
            if session.num_fed < len(session.ids) - 1:
                key = session.row if session.num_fed else tuple(session.ids[:-1])
                leader = leaders.setdefault(key, session)
                if leader is not session:
                    followers.append((leader, session))
        for packed_ids, pieces in _pack(leaders.values()):
            positions = self._cache.plan_prefill(pieces)
            ids = torch.tensor([packed_ids], device=positions.device)
            self._run(self._model.base_model, ids, positions)
        for leader, session in followers:
            self._cache.copy_row(leader.row, session.row, len(leader.ids) - 1)

    def _step(self) -> bool:
        """Write one token of each turn; whether one ended with it."""
        batch = self._batch
        assert batch is not None, "turns that have not ended are in the batch"
        alive = batch.alive()
        if len(batch.turns) - len(alive) > len(batch.turns) * _COMPACT_AT:
            batch.keep(self._compact(batch.turns, alive, batch.length))
        logits_BV = self._decoding.logits(batch.tokens_B, batch.positions_B, batch.length)
        batch.append(logits_BV, self._temperature, self.max_context)
        watched = self._watched_V[batch.tokens_B].nonzero().flatten().tolist()
        return bool(batch.finish(watched, self._stop, self.max_context))

    def _compact(self, turns: list[Turn], alive: list[int], length: int) -> list[int]:
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


def _pack(sessions: Iterable[Session]) -> Iterator[tuple[list[int], list[Piece]]]:
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


def _with_dtype(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A copy whose weights have another type; its buffers (rotary frequencies) keep theirs."""
    copy = deepcopy(model).requires_grad_(False)
    for weight in copy.parameters():
        weight.data = weight.data.to(dtype)
    return copy


@torch.no_grad()
def _copy_weights(source: nn.Module, target: nn.Module) -> None:
    for ours, theirs in zip(target.parameters(), source.parameters(), strict=True):
        ours.copy_(theirs)


@contextmanager
def _reading_rows(model: PreTrainedModel) -> Iterator[None]:
    """Exchange the model's attention for the row cache's, and switch dropout off."""
    training = model.training
    model.eval()
    try:
        with attention_implementation(ATTENTION, model):
            yield
    finally:
        model.train(training)
