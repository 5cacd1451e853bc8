"""What vLLM is asked for, and turns as we know them in what it gives back.

Ids go in and ids come out. vLLM ends a turn by its own reading of the text, so the stop rule is
applied once more to the ids: what was sampled beyond the end of a turn is no part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.llm.generators.base import (
    Generation,
    GenerationError,
    GenerationRequest,
    agreeing_ids,
)
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy
from agents.llm.policy.stopping import CLOSING_TAGS, StopReason, StopRule
from zs_env.text.hashing import derive_seed


class VLLMTurns:
    """Requests and turns of a policy's sessions.

    Args:
        policy: its tokenizer and stop tokens are used, its model is not.
        max_context: longest sequence in tokens.
    """

    def __init__(self, policy: Policy, *, max_context: int) -> None:
        self.max_context = max_context
        self._stop = StopRule(policy.codec)
        self._stop_token_ids = sorted(policy.stop_token_ids)
        self._known: dict[int, list[int]] = {}

    def room(self, request: GenerationRequest, sampling: Sampling) -> int:
        """Most tokens that a turn may have; below 1 where the context is full."""
        return min(sampling.max_new_tokens, self.max_context - len(request.token_ids))

    def fields(self, request: GenerationRequest, sampling: Sampling) -> dict[str, Any]:
        """The sampling parameters of a turn, by the names that vLLM's server and library share.

        Whatever bends the distribution is switched off, also where a model's own settings ask for
        it: the logprobs are those of what was sampled from.
        """
        return {
            "temperature": sampling.temperature,
            "top_p": 1.0,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "max_tokens": self.room(request, sampling),
            # Each turn of an episode draws from its own part of the episode's stream.
            "seed": derive_seed(f"{request.seed}\0{len(request.token_ids)}") & 0x7FFFFFFF,
            "stop": list(CLOSING_TAGS),
            # The policy's own stop tokens, and no others that the model's files may name.
            "stop_token_ids": self._stop_token_ids,
            "ignore_eos": True,
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "logprobs": 0,  # of the sampled token alone
        }

    def full(self, request: GenerationRequest) -> Generation:
        """The turn of an episode whose context is full."""
        return Generation(
            token_ids=(),
            logprobs=(),
            stop_reason="context",
            token_mismatch=self._drift(request),
        )

    def generation(
        self,
        request: GenerationRequest,
        sampling: Sampling,
        token_ids: Sequence[int],
        logprobs: Sequence[float],
    ) -> Generation:
        """Read a turn off sampled ids, and remember the session's.

        Raises:
            GenerationError: if there are not as many logprobs as ids, or the turn is over although
                nothing ends it.
        """
        if len(token_ids) != len(logprobs) or not token_ids:
            raise GenerationError(
                f"got {len(token_ids)} token ids and {len(logprobs)} logprobs of a turn, expected "
                "as many of both and at least one; the server has to return token ids "
                "(return_token_ids, vLLM 0.10.2 and later)"
            )
        count, reason = self._end(request, sampling, token_ids)
        token_mismatch = self._drift(request)
        self._known[request.session] = [*request.token_ids, *token_ids[:count]]
        return Generation(
            token_ids=tuple(token_ids[:count]),
            logprobs=tuple(logprobs[:count]),
            stop_reason=reason,
            token_mismatch=token_mismatch,
        )

    def forget(self, session: int) -> None:
        """Forget what a session's ids were."""
        self._known.pop(session, None)

    def forget_all(self) -> None:
        """Forget every session's ids."""
        self._known.clear()

    def _drift(self, request: GenerationRequest) -> int:
        known = self._known.get(request.session, [])
        return len(known) - agreeing_ids(known, request.token_ids)

    def _end(
        self, request: GenerationRequest, sampling: Sampling, token_ids: Sequence[int]
    ) -> tuple[int, StopReason]:
        """How many of the ids are the turn, and why it ends there."""
        turn_ids, reason = self._stop.cut(token_ids)
        if reason is not None:
            return len(turn_ids), reason
        room = self.room(request, sampling)
        if len(token_ids) < room:
            raise GenerationError(
                f"a turn ended after {len(token_ids)} of {room} tokens with the ids "
                f"{list(token_ids[-5:])}, which close no action and are no stop token of the "
                "policy; serve the policy's own model, with --generation-config vllm"
            )
        is_full = len(request.token_ids) + room == self.max_context
        return len(token_ids), "context" if is_full else "length"
