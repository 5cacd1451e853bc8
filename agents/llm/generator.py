"""What writes a policy's turns.

A request carries every id of its episode. A generator that keeps a cache feeds only those that it
has not fed yet, and counts those that differ from what it knows: tokens go in as they came out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from agents.llm.sampling import Sampling
from agents.llm.stopping import StopReason


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
        weight_version: how often weights had been loaded when it was sampled.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop_reason: StopReason
    drift: int = 0
    weight_version: int = 0


class Generator(Protocol):
    """Writes turns, many at a time."""

    def generate(
        self, requests: Sequence[GenerationRequest], sampling: Sampling
    ) -> list[Generation]:
        """Write one turn per request, in the same order."""
        ...

    def release(self, sessions: Iterable[int]) -> None:
        """Forget sessions that go no further; unknown ones are ignored."""
        ...

    def load_weights(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Sample from new weights from now on; None where the policy's own model was updated."""
        ...

    def close(self) -> None:
        """Give back what the generator holds; it can be used again."""
        ...
