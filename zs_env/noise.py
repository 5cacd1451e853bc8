"""How likely a search is to return noisy documents, as training goes on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

NoiseShape = Literal["exponential", "linear", "constant", "reverse"]
NoiseDraw = Literal["search", "document", "group"]


class Noise(Protocol):
    """A noise probability that may depend on the training step and on recent rewards."""

    def probability(self, step: int) -> float:
        """Chance in [0, 1] that what is drawn at this step is noisy."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """A probability that moves from `start` to `end` over `total_steps` training steps.

    p_i = start + (base^(i/total) - 1)/(base - 1) * (end - start), and `end` from there on.

    Attributes:
        start: probability at step 0, in [0, 1].
        end: probability from `total_steps` on, in [0, 1].
        base: how late the rise comes; above 1 it is late, below 1 early.
        total_steps: steps of the schedule, at least 1.
        shape: "exponential" as above, "linear", "constant" (`start` throughout), or "reverse":
            the exponential schedule run backwards, from `end` down to `start`.

    Source: ZeroSearch (arXiv:2505.04588), section 3.4, eq. 1, with base 4.
    """

    start: float
    end: float
    base: float = 4.0
    total_steps: int = 200
    shape: NoiseShape = "exponential"

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(
                    f"{type(self).__name__}.{name} is a probability in [0, 1], got {value}"
                )
        if self.total_steps < 1:
            raise ValueError(
                f"{type(self).__name__}.total_steps must be at least 1, got {self.total_steps}"
            )
        if self.base <= 0 or self.base == 1:
            raise ValueError(
                f"{type(self).__name__}.base must be positive and not 1, got {self.base}; "
                "use shape='linear' for a straight line"
            )
        if self.shape not in get_args(NoiseShape):
            raise ValueError(
                f"{type(self).__name__}.shape is one of {get_args(NoiseShape)}, got {self.shape!r}"
            )

    def value(self, step: int) -> float:
        """Probability at a 0-based step; steps past `total_steps` give the last value."""
        if step < 0:
            raise ValueError(f"step counts from 0, got {step}")
        if self.shape == "constant":
            return self.start
        progress = min(step / self.total_steps, 1.0)
        if self.shape == "reverse":
            progress = 1.0 - progress
        if self.shape != "linear":
            progress = (self.base**progress - 1.0) / (self.base - 1.0)
        return self.start + progress * (self.end - self.start)


class NoiseSchedule(Schedule):
    """A schedule of the noise probability."""

    __slots__ = ()

    def probability(self, step: int) -> float:
        """Noise probability at a 0-based step."""
        return self.value(step)


class AdaptiveNoise:
    """A noise probability that rises while recent rewards are above a target and falls below it.

    Not in the paper. It moves by `rate` after each episode that ended without a failure, once
    `window` rewards are known; `reset` forgets all.
    """

    def __init__(
        self,
        start: float,
        end: float,
        *,
        target: float = 0.6,
        window: int = 64,
        rate: float = 0.005,
    ) -> None:
        if not 0.0 <= start <= end <= 1.0:
            raise ValueError(f"AdaptiveNoise needs 0 <= start <= end <= 1, got {start} and {end}")
        if window < 1:
            raise ValueError(f"AdaptiveNoise.window must be at least 1, got {window}")
        self.start, self.end, self.target, self.rate = start, end, target, rate
        self._rewards: deque[float] = deque(maxlen=window)
        self._probability = start

    def probability(self, step: int) -> float:
        """Current probability; `step` does not matter."""
        return self._probability

    def record(self, reward: float) -> None:
        """Take in the reward of an episode that ended without a failure."""
        self._rewards.append(reward)
        if len(self._rewards) == self._rewards.maxlen:
            mean = sum(self._rewards) / len(self._rewards)
            moved = self._probability + (self.rate if mean > self.target else -self.rate)
            self._probability = min(max(moved, self.start), self.end)

    def reset(self) -> None:
        """Start again at `start`."""
        self._rewards.clear()
        self._probability = self.start
