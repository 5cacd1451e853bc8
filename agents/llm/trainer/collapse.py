"""Does a run collapse? Recent steps beside the run's own past, told in words.

Reward alone is no witness: it falls when questions or noise get harder, too. A collapse is a
reward that has halved while the policy itself has changed its nature: it babbles, freezes, repeats
itself, breaks the format, or is torn by gradients many times their usual size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

_WINDOW = 5  # steps that count as "now"
_PAST = 50  # steps before them that are remembered
_HALF = 0.5
# A reward below this was never learnt, so it cannot be lost.
_LEAST_REWARD = 0.02


@dataclass(frozen=True, slots=True)
class _Symptom:
    """A metric, and how far it may go: times its usual value, or, with `rise`, beyond it by it."""

    metric: str
    words: str
    above: float = math.inf
    below: float = 0.0
    rise: float | None = None


_SYMPTOMS = (
    _Symptom("entropy", "entropy in nats a token", above=2.0, below=0.1),
    _Symptom("malformed_rate", "share of malformed actions", rise=0.2),
    _Symptom("repeated_tokens", "share of tokens in repeated phrases", rise=0.2),
    _Symptom("kl", "KL to the reference in nats a token", above=10.0),
    _Symptom("grad_norm", "gradient norm", above=5.0),
)
WATCHED = ("reward_mean", *(symptom.metric for symptom in _SYMPTOMS))


class CollapseWatch:
    """Sees the metrics of every step and says when they are those of a collapse.

    Args:
        seen: what an earlier process saw, as `seen` gives it.

    Attributes:
        seen: the latest steps' watched metrics, JSON values, oldest first.
    """

    def __init__(self, seen: Sequence[Mapping[str, Any]] = ()) -> None:
        self.seen: list[dict[str, Any]] = [dict(row) for row in seen]

    def see(self, step: int, row: Mapping[str, Any]) -> str | None:
        """Take down a step; returns what is wrong in words, None where all is well.

        Args:
            step: updates made so far.
            row: its metrics; of `WATCHED` any may be missing or NaN.
        """
        watched = {
            name: float(row[name]) for name in WATCHED if math.isfinite(row.get(name, math.nan))
        }
        self.seen = [*self.seen, {"step": step, **watched}][-(_WINDOW + _PAST) :]
        past, now = self.seen[:-_WINDOW], self.seen[-_WINDOW:]
        if len(past) < _WINDOW:
            return None
        lost = _lost_reward(self.seen)
        if lost is None:
            return None
        told = [text for symptom in _SYMPTOMS if (text := _told(symptom, past, now)) is not None]
        if not told:
            return None
        return f"{lost}; at the same time {', '.join(told)}"

    def forget(self) -> None:
        """Begin anew, after the policy was put back."""
        self.seen = []


def _lost_reward(seen: Sequence[Mapping[str, Any]]) -> str | None:
    rewards = [row.get("reward_mean") for row in seen]
    windows = [
        (place, fmean(values))
        for place in range(len(seen) - _WINDOW + 1)
        if len(values := [r for r in rewards[place : place + _WINDOW] if r is not None]) == _WINDOW
    ]
    if not windows or windows[-1][0] != len(seen) - _WINDOW:
        return None
    place, best = max(windows, key=lambda window: window[1])
    now = windows[-1][1]
    if best < _LEAST_REWARD or now >= _HALF * best:
        return None
    first, last = seen[place]["step"], seen[place + _WINDOW - 1]["step"]
    return (
        f"mean reward fell from {best:.3f} (steps {first} to {last}) to {now:.3f} (steps "
        f"{seen[-_WINDOW]['step']} to {seen[-1]['step']})"
    )


def _told(
    symptom: _Symptom, past: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> str | None:
    before = [row[symptom.metric] for row in past if symptom.metric in row]
    after = [row[symptom.metric] for row in now if symptom.metric in row]
    if not before or not after:
        return None
    usual, present = median(before), fmean(after)
    highest = symptom.above * usual if symptom.rise is None else usual + symptom.rise
    if symptom.below * usual <= present <= highest:
        return None
    return f"{symptom.words} went from {usual:.3g} to {present:.3g}"
