"""The noise probability as a function of the training step or of recent rewards."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal, Protocol, get_args

from zs_env.search.engine import SearchEngine, engine_label
from zs_env.text.numbers import as_float, as_int, as_probability
from zs_env.text.suggestions import check_names, unknown_name

NoiseShape = Literal["exponential", "linear", "constant", "reverse"]
NoiseDraw = Literal["search", "document", "group"]


class Noise(Protocol):
    """A noise probability that may depend on the training step and on recent rewards.

    Two methods are optional: `record(reward)` is called with the reward of each episode that ended
    without an engine failure, and `reset()` when the environment is seeded.
    """

    def probability(self, step: int) -> float:
        """Noise probability in [0, 1] at a step."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """A probability that moves from `start` to `end` over `total_steps` training steps.

    p_i = start + (base^(i/total) - 1)/(base - 1) * (end - start), and `end` after `total_steps`.

    Attributes:
        start: probability at step 0, in [0, 1].
        end: probability at and after `total_steps`, in [0, 1].
        base: positive and not 1; above 1 most of the change is late, below 1 it is early.
        total_steps: number of steps, at least 1.
        shape: "exponential" as above, "linear", "constant" (always `start`), or "reverse": the
            exponential schedule backwards, from `end` to `start`.

    Source: ZeroSearch (arXiv:2505.04588), section 3.4, eq. 1, with base 4.
    """

    start: float
    end: float
    base: float = 4.0
    total_steps: int = 200
    shape: NoiseShape = "exponential"

    def __post_init__(self) -> None:
        owner = type(self).__name__
        plain = {
            "start": as_probability(f"{owner}.start", self.start),
            "end": as_probability(f"{owner}.end", self.end),
            "base": as_float(f"{owner}.base", self.base),
            "total_steps": as_int(f"{owner}.total_steps", self.total_steps, low=1),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        if self.base <= 0 or self.base == 1:
            raise ValueError(
                f"{type(self).__name__}.base must be positive and not 1, got {self.base}; "
                "use shape='linear' for a straight line"
            )
        if self.shape not in get_args(NoiseShape):
            raise ValueError(
                f"{type(self).__name__}.shape must be one of {get_args(NoiseShape)}, "
                f"got {self.shape!r}"
            )

    def value(self, step: int) -> float:
        """Probability at a step, counted from 0.

        Raises:
            ValueError: if the step is negative.
        """
        if step < 0:
            raise ValueError(f"step must be at least 0, got {step}")
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
        """Noise probability at a step, counted from 0."""
        return self.value(step)


class AdaptiveNoise:
    """A noise probability that follows the mean reward of recent episodes; not in the paper.

    After each episode without an engine failure it rises by `rate` if the mean of the last `window`
    rewards is above `target`, and falls by `rate` otherwise.

    Args:
        start: first and lowest probability.
        end: highest probability.
        target: mean reward above which the probability rises.
        window: number of rewards in the mean; the probability is constant until it is reached.
        rate: change after one episode.
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
        self.start = as_probability("AdaptiveNoise.start", start)
        self.end = as_probability("AdaptiveNoise.end", end)
        if self.start > self.end:
            raise ValueError(f"AdaptiveNoise needs 0 <= start <= end <= 1, got {start} and {end}")
        self.target = as_float("AdaptiveNoise.target", target)
        self.rate = as_float("AdaptiveNoise.rate", rate)
        size = as_int("AdaptiveNoise.window", window, low=1)
        self._rewards: deque[float] = deque(maxlen=size)
        self._probability = self.start

    def probability(self, step: int) -> float:
        """Current probability; `step` has no effect."""
        return self._probability

    def record(self, reward: float) -> None:
        """Add the reward of an episode that ended without an engine failure."""
        self._rewards.append(reward)
        if len(self._rewards) == self._rewards.maxlen:
            mean = sum(self._rewards) / len(self._rewards)
            moved = self._probability + (self.rate if mean > self.target else -self.rate)
            self._probability = min(max(moved, self.start), self.end)

    def reset(self) -> None:
        """Clear the rewards and return to `start`."""
        self._rewards.clear()
        self._probability = self.start


def build_noise(noise: float | str | Noise | Mapping[str, Any]) -> Noise:
    """Build a noise that shares no state with others.

    Args:
        noise: a constant probability in [0, 1]; a `Noise`, which is copied; a mapping with the
            arguments of `NoiseSchedule`, or of `AdaptiveNoise` with `"kind": "adaptive"`; or a
            number or a JSON object as text.

    Raises:
        ValueError: if a value is out of range, a field or the kind is unknown, or a field is
            missing.
    """
    if isinstance(noise, str):
        noise = _from_text(noise)
    if isinstance(noise, Mapping):
        values = dict(noise)
        kind = values.pop("kind", "schedule")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise unknown_name("noise kind", kind, _KINDS)
        parameters = signature(_KINDS[kind]).parameters
        check_names(f"field of the noise {kind!r}", values, parameters)
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty and name not in values:
                raise ValueError(f"the noise {kind!r} needs {name!r}, got {dict(noise)!r}")
        return _KINDS[kind](**values)
    if callable(getattr(noise, "probability", None)):
        return deepcopy(noise)  # type: ignore[return-value]
    probability = as_probability("noise", noise)
    return NoiseSchedule(probability, probability, shape="constant")


_KINDS: dict[str, Callable[..., Noise]] = {"schedule": NoiseSchedule, "adaptive": AdaptiveNoise}


def _from_text(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float | dict):
        raise ValueError(
            f"got noise={text!r}, expected a probability such as 0.5, or an object such as "
            '{"start": 0.0, "end": 0.5}'
        )
    return value


def check_noise(engine: SearchEngine, noise: float | Noise) -> None:
    """Check that an engine can produce the noise that a noise level or a schedule requests.

    A `Noise` of another class is checked at step 0 only; check its later values with
    `unsupported_noise`.

    Raises:
        ValueError: if the engine does not support noise, and the noise is or becomes above 0.
    """
    if engine.supports_noise:
        return
    noise = build_noise(noise)
    if isinstance(noise, Schedule):
        highest = noise.start if noise.shape == "constant" else max(noise.start, noise.end)
    else:
        highest = noise.end if isinstance(noise, AdaptiveNoise) else noise.probability(0)
    if highest > 0.0:
        raise unsupported_noise(engine, "noise", highest)


def unsupported_noise(engine: SearchEngine, setting: str, value: float) -> ValueError:
    """Return the error about noise that is requested from an engine without `supports_noise`."""
    return ValueError(
        f"got {setting}={value:g}, but the engine {engine_label(engine)} cannot return noisy "
        "documents; use noise 0, or an engine that supports noise: 'world', 'paragraphs', "
        "'simulator', or your own with supports_noise = True"
    )
