"""The generator on transformers, in process, with a KV cache that is kept between turns.

New ids of an episode are processed without padding, and equal prompts once. All turns are decoded
as one batch. Ended turns leave the batch, and new turns may join after any token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import count
from math import isfinite

import torch
from torch import Tensor
from transformers import PreTrainedModel

from agents.llm.generators.base import (
    Generation,
    GenerationRequest,
    Generator,
    check_idle,
    check_requests,
    never,
)
from agents.llm.generators.hf.batch import Session, Turn, TurnBatch
from agents.llm.generators.hf.cuda_graphs import make_decoder
from agents.llm.generators.hf.forward import check_architecture, forward_rows, row_attention
from agents.llm.generators.hf.kv_cache import RowCache
from agents.llm.generators.hf.plans import Chunk
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy
from agents.llm.policy.stopping import StopRule

# New tokens per forward pass: a bound on memory, large enough for efficient matrix products.
_PREFILL_TOKENS = 8192
# Ended rows are removed when they exceed this share of the batch: moving a row costs a few steps.
_COMPACT_AT = 1 / 8
# New turns join when they number this share of those in progress, or after this many tokens: on a
# GPU a prefill of few tokens takes as long as one of many.
_JOIN_AT, _JOIN_WITHIN = 1 / 2, 32


class TransformersGenerator(Generator):
    """Generates with a causal language model of transformers.

    During `poll` the model is in evaluation mode and its attention uses the row cache; afterwards
    both are restored.

    Args:
        policy: call `load_weights()` after an update of its model.
        max_context: longest sequence in tokens, at most the model's own limit.
        dtype: dtype of a copy of the model to generate with. The copy needs its own memory and is
            updated only by `load_weights`. None uses the policy's model itself.

    Raises:
        ValueError: if the architecture is not supported, see `check_architecture`.
    """

    def __init__(
        self, policy: Policy, *, max_context: int | None = None, dtype: torch.dtype | None = None
    ) -> None:
        self.policy = policy
        self._model = policy.model
        if dtype is not None:
            self._model = _with_dtype(policy.model, dtype)
        check_architecture(self._model)
        self.max_context = min(max_context or policy.max_context, policy.max_context)
        self._stop = StopRule(policy.codec)
        # The rows of the output layer, which may exceed the tokenizer's vocabulary.
        vocabulary_size = policy.model.config.get_text_config().vocab_size
        watched_V = torch.zeros(vocabulary_size, dtype=torch.bool)
        watched_V[sorted(self._stop.watched)] = True
        self._watched_V = watched_V.to(policy.model.device)
        self._temperature = 1.0
        self.close()

    def submit(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
        """Start one turn for each request.

        Raises:
            ValueError: also if the temperature differs from that of the turns in progress.
        """
        check_requests(requests, self._turns)
        if self._turns and sampling.temperature != self._temperature:
            raise ValueError(
                f"got temperature {sampling.temperature} while turns with temperature "
                f"{self._temperature} are in progress; wait until they have ended"
            )
        self._temperature = sampling.temperature
        used_rows = {session.row for session in self._sessions.values()}
        free_rows = (row for row in count() if row not in used_rows)
        for request in requests:
            turn = self._start_turn(request, free_rows, sampling)
            self._turns[request.session] = turn
            if turn.stop_reason is None:
                self._joining.append(turn)

    def poll(self, should_yield: Callable[[], bool] = never) -> dict[int, Generation]:
        """Generate until at least one turn ends.

        Raises:
            FloatingPointError: if the model's logits are not finite.
        """
        ended = any(turn.stop_reason is not None for turn in self._turns.values())
        if self._turns and not ended:
            with row_attention(self._model), torch.inference_mode():
                while not (ended or should_yield()):
                    if self._joining:
                        self._join_or_wait()
                    ended = self._step()
        over = [name for name, turn in self._turns.items() if turn.stop_reason is not None]
        turns = {name: self._turns.pop(name) for name in over}
        return {name: self._generation(turn) for name, turn in turns.items()}

    def partial_turn(self, session: int) -> list[int]:
        """Ids sampled so far in the unfinished turn of a session."""
        turn = self._turns[session]
        return self._batch.partial_turn(turn) if self._batch else list(turn.token_ids)

    def release(self, sessions: Iterable[int]) -> None:
        for name in sessions:
            self._sessions.pop(name, None)
            turn = self._turns.pop(name, None)
            if turn is not None:
                turn.stop_reason = "length"  # The batch then ignores its row.
                self._joining = [one for one in self._joining if one is not turn]

    def load_weights(self, weights: Mapping[str, Tensor] | None = None) -> None:
        check_idle(len(self._turns))
        if weights is not None:
            self.policy.model.load_state_dict(weights)
        if self._model is not self.policy.model:
            pairs = zip(self._model.parameters(), self.policy.model.parameters(), strict=True)
            with torch.no_grad():
                for copy, original in pairs:
                    copy.copy_(original)
        self._sessions.clear()
        self._batch = None

    def close(self) -> None:
        self._sessions: dict[int, Session] = {}
        self._turns: dict[int, Turn] = {}  # in progress or not returned yet, by session
        self._joining: list[Turn] = []
        self._join_delay = 0  # tokens sampled since turns are joining
        self._batch: TurnBatch | None = None
        self._cache = RowCache(self._model)
        model, cache = self._model, self._cache
        self._decoder = make_decoder(
            cache, lambda ids, positions: forward_rows(model, cache, ids, positions).logits
        )

    def _start_turn(
        self, request: GenerationRequest, free_rows: Iterator[int], sampling: Sampling
    ) -> Turn:
        session = self._sessions.get(request.session)
        if session is None:
            session = self._sessions[request.session] = Session(next(free_rows))
        token_mismatch = session.update_ids(request.token_ids)
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
                f"the logits of policy {self.policy.name!r} are not finite: its weights have "
                "diverged; lower the learning rate and train again, from --policy CHECKPOINT into "
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
        """Join waiting turns if they are many, or have waited for `_JOIN_WITHIN` tokens."""
        unfinished = len(self._batch.unfinished_rows()) if self._batch is not None else 0
        if len(self._joining) >= unfinished * _JOIN_AT or self._join_delay == _JOIN_WITHIN:
            self._join()
        else:
            self._join_delay += 1

    def _join(self) -> None:
        """Prefill the waiting turns and make one batch of them and the unfinished turns."""
        turns = (self._batch.flush() if self._batch is not None else []) + self._joining
        self._joining, self._join_delay = [], 0
        sessions = [turn.session for turn in turns]
        # Rows of ended turns continue until the batch is compacted, hence both maxima.
        positions = max(len(one.ids) for one in sessions) + max(turn.room for turn in turns)
        lengths = {session.row: session.num_cached for session in self._sessions.values()}
        size = self._decoder.required_size(len(self._sessions), positions)
        self._cache.reserve(*size, lengths)
        longest = max(session.num_cached for session in self._sessions.values())
        self._move_to_first_rows(sessions, longest)
        self._prefill(sessions)
        # The decoder processes the first rows of the cache in order.
        turns.sort(key=lambda turn: turn.session.row)
        self._batch = TurnBatch.from_turns(turns, self.policy.model.device)

    def _move_to_first_rows(self, sessions: list[Session], length: int) -> None:
        """Move sessions to the first rows; the owners of those rows get the old rows."""
        moving = [session for session in sessions if session.row >= len(sessions)]
        if not moving:
            return
        used = {session.row for session in sessions}
        free = [row for row in range(len(sessions)) if row not in used]
        owners = {session.row: session for session in self._sessions.values()}
        self._cache.swap_rows([session.row for session in moving], free, length)
        for session, row in zip(moving, free, strict=True):
            if row in owners:
                owners[row].row = session.row
            session.row = row

    def _prefill(self, sessions: list[Session]) -> None:
        """Process all ids but the last of each session; equal new sequences only once."""
        leaders: dict[object, Session] = {}
        copies: list[tuple[Session, Session]] = []
        for session in sessions:
            if session.num_cached < len(session.ids) - 1:
                key = session.row if session.num_cached else tuple(session.ids[:-1])
                leader = leaders.setdefault(key, session)
                if leader is not session:
                    copies.append((leader, session))
        for packed_ids, chunks in _pack(leaders.values()):
            positions = self._cache.plan_prefill(chunks)
            ids = torch.tensor([packed_ids], device=positions.device)
            forward_rows(self._model.base_model, self._cache, ids, positions)
        for leader, session in copies:
            self._cache.copy_row(leader.row, session.row, len(leader.ids) - 1)

    def _step(self) -> bool:
        """Sample one token for each turn; return whether a turn ended."""
        batch = self._batch
        assert batch is not None, "unfinished turns are in the batch"
        rows = batch.unfinished_rows()
        if len(batch.turns) - len(rows) > len(batch.turns) * _COMPACT_AT:
            self._move_to_first_rows([batch.turns[row].session for row in rows], batch.length)
            # Before the move, the row of a session was the row of its turn.
            batch.select_rows(sorted(rows, key=lambda row: batch.turns[row].session.row))
        logits_BV = self._decoder.logits(batch.tokens_B, batch.positions_B, batch.length)
        batch.sample(logits_BV, self._temperature, self.max_context)
        watched = self._watched_V[batch.tokens_B].nonzero().flatten().tolist()
        return bool(batch.end_turns(watched, self._stop, self.max_context))


def _pack(sessions: Iterable[Session]) -> Iterator[tuple[list[int], list[Chunk]]]:
    """Pack the new ids of sessions, all but each last, into sequences of bounded length."""
    ids: list[int] = []
    chunks: list[Chunk] = []
    for session in sessions:
        new = session.ids[session.num_cached : -1]
        if ids and len(ids) + len(new) > _PREFILL_TOKENS:
            yield ids, chunks
            ids, chunks = [], []
        chunks.append(Chunk(session.row, session.num_cached, len(ids), len(ids) + len(new)))
        ids.extend(new)
    if ids:
        yield ids, chunks


def _with_dtype(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A copy with weights of another dtype; buffers (rotary frequencies) keep theirs."""
    copy = deepcopy(model).requires_grad_(False)
    for weight in copy.parameters():
        weight.data = weight.data.to(dtype)
    return copy
