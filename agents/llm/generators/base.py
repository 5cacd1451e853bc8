"""The generator protocol: samples the turns of a policy.

A request carries all token ids of its episode. A generator with a KV cache processes only the ids
that are not in the cache, and counts the ids that differ from those it knows.

`submit` starts turns and `poll` returns them as they end, so no episode has to wait for the others.
`generate` does both, for turns that are needed together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from agents.llm.generators.sampling import Sampling
from agents.llm.policy.stopping import StopReason


class GenerationError(RuntimeError):
    """A turn could not be generated, or new weights not loaded. The training state is intact."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationRequest:
    """Request for one turn.

    Attributes:
        session: identifies the episode; its cache is kept until the session is released.
        token_ids: all ids so far, starting with the prompt; not empty.
        seed: of the episode's random stream; any integer.
    """

    session: int
    token_ids: Sequence[int]
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """One sampled turn.

    Attributes:
        token_ids: [T] new ids, including the stop token; empty if the context was already full.
        logprobs: [T] nats, float32, under the distribution sampled from.
        stop_reason: "tag", "eos", "length" (`max_new_tokens`) or "context" (`max_context`).
        token_mismatch: number of ids of the request that differ from those processed or sampled
            earlier in the session.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop_reason: StopReason
    token_mismatch: int = 0


def never() -> bool:
    """Return False."""
    return False


class Generator(Protocol):
    """Samples many turns at a time.

    Attributes:
        max_context: longest sequence in tokens.
    """

    max_context: int

    def submit(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
        """Start one turn for each request; turns in progress continue.

        Raises:
            ValueError: if a request has no ids, or a turn of its session is in progress.
        """
        ...

    def poll(self, should_yield: Callable[[], bool] = never) -> dict[int, Generation]:
        """Generate until at least one turn ends, and return the ended turns by session.

        Args:
            should_yield: called regularly; if it returns True, `poll` returns with the turns that
                have ended so far.

        Returns:
            {} if no turn is in progress.
        """
        ...

    def release(self, sessions: Iterable[int]) -> None:
        """Drop sessions and cancel their turns; unknown sessions are ignored."""
        ...

    def load_weights(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Use new weights from now on; None if the policy's own model was updated in place.

        Raises:
            RuntimeError: if turns are in progress.
        """
        ...

    def close(self) -> None:
        """Drop all turns and sessions, and free the cache. The generator can be used again."""
        ...


def check_requests(requests: Sequence[GenerationRequest], in_progress: Collection[int]) -> None:
    """Raise a ValueError if a request is invalid; `in_progress` are sessions with a turn."""
    names = {request.session for request in requests}
    if len(names) != len(requests) or not names.isdisjoint(in_progress):
        raise ValueError("got two turns of the same session; give each episode its own session")
    for request in requests:
        if not request.token_ids:
            raise ValueError(f"session {request.session} has no ids; start it with a prompt")


def check_idle(num_turns: int) -> None:
    """Raise a RuntimeError if new weights arrive while turns are in progress."""
    if num_turns:
        raise RuntimeError(
            f"{num_turns} turns are in progress; poll until they have ended or release their "
            "sessions before new weights are loaded"
        )


def common_prefix_length(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the longest common prefix of two id sequences."""
    shared = min(len(left), len(right))
    if list(left[:shared]) == list(right[:shared]):
        return shared
    return next(i for i in range(shared) if left[i] != right[i])


def generate(
    generator: Generator, requests: Sequence[GenerationRequest], sampling: Sampling
) -> list[Generation]:
    """Generate one turn for each request and return them in the same order.

    No other turn may be in progress: its result would be lost.
    """
    generator.submit(requests, sampling)
    turns: dict[int, Generation] = {}
    while len(turns) < len(requests):
        turns |= generator.poll()
    return [turns[request.session] for request in requests]
