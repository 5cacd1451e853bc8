"""Detects the collapse of a policy: compares recent steps with the run's own past.

A falling reward alone is no evidence: it also falls when questions or noise get harder. A collapse
is a reward that has halved while the policy itself has changed: its entropy, repetition, format or
KL left the usual range, it searches half as often, or its gradients are many times larger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

_WINDOW = 5  # recent steps that are compared
_PAST = 50  # steps before them that are kept
_HALF = 0.5
# A best mean reward below this was never learned, so it cannot be lost.
_MIN_BEST_REWARD = 0.02


@dataclass(frozen=True, slots=True)
class _Symptom:
    """A metric and its usual range, as multiples of the past median."""

    metric: str
    words: str
    above: float = math.inf
    below: float = 0.0
    rise: float | None = None  # upper threshold as an increase, in place of `above`
    least: float = 0.0  # of the upper threshold


_SYMPTOMS = (
    _Symptom("entropy", "entropy in nats per token", above=2.0, below=0.1),
    _Symptom("malformed_rate", "share of malformed actions", rise=0.2),
    _Symptom("repeated_tokens", "share of tokens in repeated phrases", rise=0.2),
    _Symptom("kl", "KL to the reference in nats per token", above=10.0, least=0.05),
    _Symptom("grad_norm", "gradient norm", above=5.0),
    _Symptom("searches_mean", "searches per episode", below=0.5),
)
_WATCHED = ("reward_mean", *(symptom.metric for symptom in _SYMPTOMS))


def check_collapse(
    recent: Sequence[Mapping[str, Any]], step: int, row: Mapping[str, Any]
) -> tuple[list[Mapping[str, Any]], str | None]:
    """Check the metrics of a step.

    Args:
        recent: returned by the check of the step before; empty at first.
        step: updates made so far.
        row: metrics of the step; any that is watched may be missing or NaN.

    Returns:
        Watched metrics of the latest steps, JSON values, oldest first, and a description of the
        collapse, or None.
    """
    watched = {
        name: float(row[name]) for name in _WATCHED if math.isfinite(row.get(name, math.nan))
    }
    recent = [*recent, {"step": step, **watched}][-(_WINDOW + _PAST) :]
    past, now = recent[:-_WINDOW], recent[-_WINDOW:]
    lost = _lost_reward(recent) if len(past) >= _WINDOW else None
    if lost is None:
        return recent, None
    changes = [text for symptom in _SYMPTOMS if (text := _change(symptom, past, now))]
    return recent, f"{lost}; at the same time {', '.join(changes)}" if changes else None


def _lost_reward(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Description of a halved reward; None if it has not halved."""
    rewards = [row.get("reward_mean") for row in rows]
    windows = [
        (start, fmean(values))
        for start in range(len(rows) - _WINDOW + 1)
        if len(values := [r for r in rewards[start : start + _WINDOW] if r is not None]) == _WINDOW
    ]
    if not windows or windows[-1][0] != len(rows) - _WINDOW:
        return None
    start, best = max(windows, key=lambda window: window[1])
    now = windows[-1][1]
    if best < _MIN_BEST_REWARD or now >= _HALF * best:
        return None
    first, last = rows[start]["step"], rows[start + _WINDOW - 1]["step"]
    return (
        f"mean reward fell from {best:.3f} (steps {first} to {last}) to {now:.3f} (steps "
        f"{rows[-_WINDOW]['step']} to {rows[-1]['step']})"
    )


def _change(
    symptom: _Symptom, past: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> str | None:
    """Description of a metric outside its usual range; None if it is inside or unknown."""
    before = [row[symptom.metric] for row in past if symptom.metric in row]
    after = [row[symptom.metric] for row in now if symptom.metric in row]
    if not before or not after:
        return None
    # Estimates of a KL that is almost 0 may be negative.
    usual, recent = max(median(before), 0.0), max(fmean(after), 0.0)
    highest = symptom.above * usual if symptom.rise is None else usual + symptom.rise
    highest = max(highest, symptom.least)
    if symptom.below * usual <= recent <= highest:
        return None
    return f"{symptom.words} went from {usual:.3g} to {recent:.3g}"
