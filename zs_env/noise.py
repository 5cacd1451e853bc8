"""The noise of searches: its probability, over training steps or recent rewards, and its kinds."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal, Protocol, get_args

from zs_env.search.engine import SearchEngine, engine_label
from zs_env.search.types import NOISE_KINDS, NoiseKind
from zs_env.text.hashing import stable_hash, uniform
from zs_env.text.numbers import as_float, as_int, as_probability
from zs_env.text.suggestions import check_names, unknown_name

NoiseShape = Literal["exponential", "linear", "constant", "reverse"]
NoiseDraw = Literal["search", "document", "group"]
# As `build_noise_kinds` takes them, and as it returns them.
NoiseKinds = str | Mapping[str, float] | Sequence[tuple[str, float]]
KindWeights = tuple[tuple[NoiseKind, float], ...]


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


def build_noise_kinds(kinds: NoiseKinds) -> KindWeights:
    """Return the kinds of noise with a weight above 0, in the order of `NOISE_KINDS`.

    Args:
        kinds: the name of one kind; a mapping, or (name, weight) pairs, of weights that are not
            negative and not all 0; or a JSON object of weights as text.

    Raises:
        ValueError: if a name is unknown, or the weights are out of range.
    """
    if isinstance(kinds, str) and kinds.lstrip().startswith("{"):
        try:
            kinds = json.loads(kinds)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"noise_kinds is not valid JSON ({error}): {kinds}") from error
    try:
        weights = {kinds: 1.0} if isinstance(kinds, str) else dict(kinds)
    except (TypeError, ValueError):
        weights = {}
    check_names("noise kind", weights, NOISE_KINDS)
    weights = {kind: as_float(f"the weight of {kind!r}", one) for kind, one in weights.items()}
    if min(weights.values(), default=-1.0) < 0 or not 0 < sum(weights.values()) < float("inf"):
        raise ValueError(
            f"got noise_kinds={kinds!r}, expected one of {NOISE_KINDS}, or weights of some of "
            'them that are not negative and not all 0, such as {"misleading": 1, "empty": 1}'
        )
    return tuple((kind, weights[kind]) for kind in NOISE_KINDS if weights.get(kind))


def draw_noise_kind(kinds: KindWeights, text: str) -> NoiseKind:
    """Draw a kind by its weight; `text` determines the draw."""
    if len(kinds) == 1:
        return kinds[0][0]
    share = uniform(stable_hash(text)) * sum(weight for _, weight in kinds)
    for kind, weight in kinds:
        share -= weight
        if share < 0:
            return kind
    return kinds[-1][0]


def check_noise(
    engine: SearchEngine,
    noise: float | Noise,
    kinds: NoiseKinds = "irrelevant",
    *,
    setting: str = "noise",
) -> None:
    """Check that an engine can produce the noise that a noise level or a schedule requests.

    A `Noise` of another class is checked at step 0 only; check its later values with
    `check_supported`. `setting` is the name of the noise in the error.

    Raises:
        ValueError: if the engine cannot produce noise, or one of the kinds, and the noise is or
            becomes above 0.
    """
    kinds = build_noise_kinds(kinds)
    if engine.supports_noise and not _missing_kinds(engine, kinds):
        return
    noise = build_noise(noise)
    if isinstance(noise, Schedule):
        highest = noise.start if noise.shape == "constant" else max(noise.start, noise.end)
    else:
        highest = noise.end if isinstance(noise, AdaptiveNoise) else noise.probability(0)
    if highest > 0.0:
        check_supported(engine, kinds, setting, highest)


def check_supported(engine: SearchEngine, kinds: KindWeights, setting: str, value: float) -> None:
    """Raise ValueError if a setting requests noise of kinds that the engine cannot produce."""
    if not engine.supports_noise:
        raise ValueError(
            f"got {setting}={value:g}, but the engine {engine_label(engine)} cannot return noisy "
            "documents; use noise 0, or an engine that supports noise: 'world', 'paragraphs', "
            "'corpus', 'simulator', or your own with supports_noise = True"
        )
    missing = _missing_kinds(engine, kinds)
    if missing:
        raise ValueError(
            f"got {setting}={value:g} with the noise kinds {missing}, but the engine "
            f"{engine_label(engine)} returns only {list(engine.noise_kinds)}; use noise 0, set "
            "noise_kinds to some of these, or use an engine that returns all kinds: 'world', "
            "'paragraphs', 'corpus', or your own with the attribute noise_kinds"
        )


def _missing_kinds(engine: SearchEngine, kinds: KindWeights) -> list[str]:
    return [kind for kind, _ in kinds if kind not in engine.noise_kinds]
