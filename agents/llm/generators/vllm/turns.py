"""Base class of the generators on vLLM.

vLLM stops at the decoded text of a closing tag and may sample more ids, so the policy's stop rule
is applied to the ids again and the rest is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from agents.llm.generators.base import (
    Generation,
    GenerationError,
    GenerationRequest,
    Generator,
    check_idle,
    check_requests,
    common_prefix_length,
    never,
)
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy
from agents.llm.policy.stopping import StopRule
from zs_env.text.hashing import derive_seed


class VLLMGeneratorBase(Generator):
    """Keeps the turns in progress and the ids of each session.

    Args:
        policy: the policy.
        max_context: longest sequence in tokens.
    """

    def __init__(self, policy: Policy, *, max_context: int) -> None:
        self.policy = policy
        self.max_context = max_context
        self._stop = StopRule(policy.codec)
        self._stop_token_ids = sorted(policy.codec.stop_token_ids)
        # Unfinished turns by the key of `_start`; turns without room wait for `poll`.
        self._open: dict[Any, tuple[GenerationRequest, Sampling]] = {}
        self._full: dict[int, Generation] = {}
        self._known: dict[int, list[int]] = {}

    def submit(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
        in_progress = {request.session for request, _ in self._open.values()}
        check_requests(requests, in_progress | self._full.keys())
        for request in requests:
            if self._room(request, sampling) < 1:
                self._full[request.session] = self._generation(request, sampling, (), ())
            else:
                self._open[self._start(request, sampling)] = request, sampling

    def poll(self, should_yield: Callable[[], bool] = never) -> dict[int, Generation]:
        """Generate until at least one turn ends.

        Raises:
            GenerationError: if a turn cannot be generated; all turns and sessions are dropped.
        """
        ended, self._full = self._full, {}
        while self._open and not ended:
            try:
                for key, token_ids, logprobs in self._advance():
                    request, sampling = self._open.pop(key)
                    turn = self._generation(request, sampling, token_ids, logprobs)
                    ended[request.session] = turn
            except Exception:
                self.close()
                raise
            if should_yield():
                break
        return ended

    def release(self, sessions: Iterable[int]) -> None:
        names = set(sessions)
        for name in names:
            self._known.pop(name, None)
            self._full.pop(name, None)
        cancelled = [key for key, (request, _) in self._open.items() if request.session in names]
        for key in cancelled:
            del self._open[key]
        if cancelled:
            self._cancel(cancelled)

    def load_weights(self, weights: Mapping[str, Tensor] | None = None) -> None:
        check_idle(len(self._open))
        if weights is not None:
            self.policy.model.load_state_dict(weights)
        self._send_weights()

    def close(self) -> None:
        """Drop all turns and sessions; the engine or the servers keep their memory."""
        self.release([request.session for request, _ in self._open.values()])
        self._full.clear()
        self._known.clear()

    def _start(self, request: GenerationRequest, sampling: Sampling) -> Hashable:
        """Start a turn and return its key."""
        raise NotImplementedError

    def _advance(self) -> Iterable[tuple[Any, Sequence[int], Sequence[float]]]:
        """Generate for a short time; return key, ids and logprobs of open turns that ended."""
        raise NotImplementedError

    def _cancel(self, keys: list[Any]) -> None:
        raise NotImplementedError

    def _send_weights(self) -> None:
        """Send the weights of the policy's model to vLLM."""
        raise NotImplementedError

    def _room(self, request: GenerationRequest, sampling: Sampling) -> int:
        """Longest possible turn in tokens; below 1 if the context is full."""
        return min(sampling.max_new_tokens, self.max_context - len(request.token_ids))

    def _sampling_params(self, request: GenerationRequest, sampling: Sampling) -> dict[str, Any]:
        """Sampling parameters of a turn; the names are the same in vLLM's server and library.

        All transformations of the distribution other than temperature are off, also those in the
        model's generation config, so that the logprobs are those of the policy.
        """
        return {
            "temperature": sampling.temperature,
            "top_p": 1.0,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "max_tokens": self._room(request, sampling),
            # Each turn has its own seed, derived from the episode's.
            "seed": derive_seed(f"{request.seed}\0{len(request.token_ids)}") & 0x7FFFFFFF,
            "stop": list(self._stop.tags),
            # Only the policy's stop tokens, not others in the model's files.
            "stop_token_ids": self._stop_token_ids,
            "ignore_eos": True,
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "logprobs": 0,  # of the sampled token only
        }

    def _generation(
        self,
        request: GenerationRequest,
        sampling: Sampling,
        token_ids: Sequence[int],
        logprobs: Sequence[float],
    ) -> Generation:
        """Build a turn from sampled ids, and keep the ids of the session."""
        room = self._room(request, sampling)
        if len(token_ids) != len(logprobs) or (room >= 1 and not token_ids):
            raise GenerationError(
                f"got {len(token_ids)} token ids and {len(logprobs)} logprobs of a turn, expected "
                "the same number, at least 1; use vLLM 0.10.2 or later, which returns token ids "
                "(return_token_ids)"
            )
        turn_ids, reason = self._stop.cut(token_ids)
        if reason is None:
            if len(token_ids) < room:
                raise GenerationError(
                    f"a turn ended after {len(token_ids)} of {room} tokens with the ids "
                    f"{list(token_ids[-5:])}, which are neither a closing tag nor a stop token of "
                    "the policy; serve the policy's own model, with --generation-config vllm"
                )
            is_full = len(request.token_ids) + room == self.max_context
            reason = "context" if is_full else "length"
        known = self._known.get(request.session, [])
        token_mismatch = len(known) - common_prefix_length(known, request.token_ids)
        if turn_ids:
            self._known[request.session] = [*request.token_ids, *turn_ids]
        return Generation(
            token_ids=turn_ids,
            logprobs=tuple(logprobs[: len(turn_ids)]),
            stop_reason=reason,
            token_mismatch=token_mismatch,
        )
