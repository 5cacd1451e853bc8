"""A generator whose turns come from a function: for tests, demonstrations and replays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor

from agents.llm.generators.base import Generation, GenerationRequest, Generator, never
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy
from agents.llm.policy.stopping import StopRule


class ScriptedGenerator(Generator):
    """Encodes the texts of a function as turns and applies the policy's stop rule.

    Args:
        policy: its tokenizer is used, its model is not.
        write: maps the decoded episode so far to the text of the next turn. A turn without a
            closing tag ends at `max_new_tokens` or with EOS.
    """

    def __init__(self, policy: Policy, write: Callable[[str], str]) -> None:
        self._policy = policy
        self.max_context = policy.max_context
        self._write = write
        self._stop = StopRule(policy.codec)
        self._ended: dict[int, Generation] = {}

    def submit(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
        """Generate one turn for each request; all logprobs are 0."""
        for request in requests:
            self._ended[request.session] = self._turn(request.token_ids, sampling.max_new_tokens)

    def poll(self, should_yield: Callable[[], bool] = never) -> dict[int, Generation]:
        ended, self._ended = self._ended, {}
        return ended

    def release(self, sessions: Iterable[int]) -> None:
        for name in sessions:
            self._ended.pop(name, None)

    def load_weights(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Do nothing: there are no weights."""

    def close(self) -> None:
        """Do nothing."""

    def _turn(self, token_ids: Sequence[int], max_new_tokens: int) -> Generation:
        room = self.max_context - len(token_ids)
        limit = min(max_new_tokens, room)
        wanted = self._policy.codec.encode_environment(
            self._write(self._policy.codec.decode(token_ids))
        )
        wanted += tuple(sorted(self._policy.codec.stop_token_ids))[:1]
        written, reason = self._stop.cut(wanted[: max(limit, 0)])
        return Generation(
            token_ids=written,
            logprobs=(0.0,) * len(written),
            stop_reason=reason or ("context" if limit >= room else "length"),
        )
