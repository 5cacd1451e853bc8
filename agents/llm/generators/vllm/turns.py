"""Base class of the generators on vLLM: sampling parameters, and turns from vLLM's outputs.

vLLM stops at the decoded text of a closing tag and may sample more ids, so the policy's stop rule
is applied to the ids again and the rest is cut off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from agents.llm.generators.base import (
    Generation,
    GenerationError,
    GenerationRequest,
    Generator,
    check_idle,
    common_prefix_length,
)
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy
from agents.llm.policy.stopping import CLOSING_TAGS, StopReason, StopRule
from zs_env.text.hashing import derive_seed


class VLLMGeneratorBase(Generator):
    """Builds sampling parameters and turns, and keeps the ids of each session.

    Args:
        policy: the policy.
        max_context: longest sequence in tokens.
    """

    def __init__(self, policy: Policy, *, max_context: int) -> None:
        self.policy = policy
        self.max_context = max_context
        self._open: dict[Any, Any] = {}  # requests in progress
        self._number = 0  # requests so far
        self._stop = StopRule(policy.codec)
        self._stop_token_ids = sorted(policy.codec.stop_token_ids)
        self._known: dict[int, list[int]] = {}

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
            "stop": list(CLOSING_TAGS),
            # Only the policy's stop tokens, not others in the model's files.
            "stop_token_ids": self._stop_token_ids,
            "ignore_eos": True,
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "logprobs": 0,  # of the sampled token only
        }

    def _context_full(self, request: GenerationRequest) -> Generation:
        """The empty turn of an episode whose context is full."""
        return Generation(
            token_ids=(),
            logprobs=(),
            stop_reason="context",
            token_mismatch=self._token_mismatch(request),
        )

    def _generation(
        self,
        request: GenerationRequest,
        sampling: Sampling,
        token_ids: Sequence[int],
        logprobs: Sequence[float],
    ) -> Generation:
        """Build a turn from sampled ids, and keep the ids of the session.

        Raises:
            GenerationError: if the numbers of ids and logprobs differ or are 0, or the turn ended
                without a stop reason.
        """
        if len(token_ids) != len(logprobs) or not token_ids:
            raise GenerationError(
                f"got {len(token_ids)} token ids and {len(logprobs)} logprobs of a turn, expected "
                "the same number, at least 1; use vLLM 0.10.2 or later, which returns token ids "
                "(return_token_ids)"
            )
        count, reason = self._end(request, sampling, token_ids)
        token_mismatch = self._token_mismatch(request)
        self._known[request.session] = [*request.token_ids, *token_ids[:count]]
        return Generation(
            token_ids=tuple(token_ids[:count]),
            logprobs=tuple(logprobs[:count]),
            stop_reason=reason,
            token_mismatch=token_mismatch,
        )

    def load_weights(self, weights: Mapping[str, Tensor] | None = None) -> None:
        check_idle(len(self._open))
        if weights is not None:
            self.policy.model.load_state_dict(weights)
        self._send_weights()

    def _send_weights(self) -> None:
        """Send the weights of the policy's model to vLLM."""
        raise NotImplementedError

    def _token_mismatch(self, request: GenerationRequest) -> int:
        known = self._known.get(request.session, [])
        return len(known) - common_prefix_length(known, request.token_ids)

    def _end(
        self, request: GenerationRequest, sampling: Sampling, token_ids: Sequence[int]
    ) -> tuple[int, StopReason]:
        """Number of ids that belong to the turn, and its stop reason."""
        turn_ids, reason = self._stop.cut(token_ids)
        if reason is not None:
            return len(turn_ids), reason
        room = self._room(request, sampling)
        if len(token_ids) < room:
            raise GenerationError(
                f"a turn ended after {len(token_ids)} of {room} tokens with the ids "
                f"{list(token_ids[-5:])}, which are neither a closing tag nor a stop token of the "
                "policy; serve the policy's own model, with --generation-config vllm"
            )
        is_full = len(request.token_ids) + room == self.max_context
        return len(token_ids), "context" if is_full else "length"
