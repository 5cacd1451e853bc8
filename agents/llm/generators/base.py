"""What writes a policy's turns.

A request carries every id of its episode. A generator that keeps a cache feeds only those that it
has not fed yet, and counts those that differ from what it knows: tokens go in as they came out.

Turns are begun with `begin` and come back from `advance` as they end, so that an episode need not
wait for the others; `generate` does both for turns that are all wanted together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from agents.llm.generators.sampling import Sampling
from agents.llm.policy.stopping import StopReason


class GenerationError(RuntimeError):
    """A turn or new weights did not come through; what had been trained until then is unharmed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationRequest:
    """One turn to be written.

    Attributes:
        session: names the episode; its cache is kept under this name until it is released.
        token_ids: all ids so far, the prompt first; not empty.
        seed: of the episode's random stream; any integer.
    """

    session: int
    token_ids: Sequence[int]
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """One turn as it was sampled.

    Attributes:
        token_ids: [T] new ids, the stop token included; empty where the context was full before.
        logprobs: [T] nats, float32, under the distribution sampled from.
        stop_reason: "tag" or "eos", or "length" (`max_new_tokens`) or "context" (model's limit).
        drift: ids of the request that differ from those fed or sampled earlier in the session.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop_reason: StopReason
    token_mismatch: int = 0


def never() -> bool:
    """False."""
    return False


class Generator(Protocol):
    """Writes turns, many at a time.

    Attributes:
        max_context: longest sequence that it reads, in tokens.
    """

    max_context: int

    def submit(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
        """Begin one turn per request, beside those that are being written already.

        Raises:
            ValueError: if a request holds no ids, or a turn of its session is being written.
        """
        ...

    def poll(self, should_yield: Callable[[], bool] = never) -> dict[int, Generation]:
        """Write on until a turn ends, and return by session those that have ended.

        Args:
            should_yield: asked now and then; once it is true the call returns, with or without a turn.

        Returns:
            Nothing where no turn is being written.
        """
        ...

    def release(self, sessions: Iterable[int]) -> None:
        """Forget sessions that go no further, their turns too; unknown ones are ignored."""
        ...

    def load_weights(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Sample from new weights from now on; None where the policy's own model was updated.

        Raises:
            RuntimeError: while turns are being written.
        """
        ...

    def close(self) -> None:
        """Give back what the generator holds; it can be used again."""
        ...


def check_requests(requests: Sequence[GenerationRequest], writing: Collection[int]) -> None:
    """Refuse turns that cannot be begun.

    Args:
        requests: to begin.
        writing: sessions whose turn is being written.

    Raises:
        ValueError: if a request holds no ids, or a turn of its session is being written.
    """
    names = {request.session for request in requests}
    if len(names) != len(requests) or not names.isdisjoint(writing):
        raise ValueError("two turns name the same session; give each episode its own")
    for request in requests:
        if not request.token_ids:
            raise ValueError(f"session {request.session} has no ids; begin with a prompt")


def check_idle(writing: int) -> None:
    """Refuse new weights in the middle of a turn.

    Args:
        writing: turns being written.

    Raises:
        RuntimeError: if there is one.
    """
    if writing:
        raise RuntimeError(
            f"{writing} turns are being written; advance until they have ended or release their "
            "sessions before new weights come"
        )


def agreeing_ids(known: Sequence[int], wanted: Sequence[int]) -> int:
    """Length of the beginning that two sequences of ids share."""
    shared = min(len(known), len(wanted))
    if list(known[:shared]) == list(wanted[:shared]):
        return shared
    return next(i for i in range(shared) if known[i] != wanted[i])


def generate(
    generator: Generator, requests: Sequence[GenerationRequest], sampling: Sampling
) -> list[Generation]:
    """Write one turn per request and return them in the same order.

    Raises:
        RuntimeError: if other turns are being written: theirs would be lost.
    """
    generator.submit(requests, sampling)
    written: dict[int, Generation] = {}
    while len(written) < len(requests):
        written |= generator.poll()
    return [written[request.session] for request in requests]
