"""Paired differences between two agents on the same questions, with significance tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agents.evaluation.statistics import Interval, stratified_intervals, table_of

NUM_FLIPS = 10_000
_BLOCK = 250  # rows of signs at a time, which bounds the memory
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A mean difference over pairs.

    Attributes:
        difference: mean and 95 % interval of a bootstrap over pairs.
        p_value: of a two-sided sign-flip permutation test; None without pairs.
    """

    difference: Interval
    p_value: float | None


def paired_difference(first: Sequence[float], second: Sequence[float]) -> PairedDifference:
    """Return the first column minus the second; entries at the same place form a pair.

    Raises:
        ValueError: if they differ in length.
    """
    if len(first) != len(second):
        raise ValueError(f"paired columns must have equal length, got {len(first)}, {len(second)}")
    differences = [one - other for one, other in zip(first, second, strict=True)]
    return paired_differences([{"difference": differences}])["difference"]


def paired_differences(
    strata: Sequence[Mapping[str, Sequence[float]]], *, seed: int = 0
) -> dict[str, PairedDifference]:
    """Return the mean difference of each column, with its interval and p-value.

    Under the null hypothesis a pair's difference has either sign with equal probability. The
    p-value is the share of random sign assignments whose mean is at least as far from 0 as the
    observed one, including the observed one.

    Args:
        strata: differences by column, as for `stratified_intervals`, one entry a pair. The
            statistic is the mean of the strata's means; signs are flipped pair by pair.
        seed: of the resampling and of the signs.

    Source: Fisher's randomization test as Smucker, Allan and Carterette, "A Comparison of
    Statistical Significance Tests for Information Retrieval Evaluation" (CIKM 2007), recommend it;
    the observed assignment is counted after Phipson and Smyth (2010, arXiv:1603.05766).
    """
    intervals = stratified_intervals(strata, seed=seed)
    if any(interval.mean is None for interval in intervals.values()):
        return {name: PairedDifference(one, None) for name, one in intervals.items()}
    rng = np.random.default_rng(seed)
    flipped_RC = np.mean([_flipped_means(table_of(columns), rng) for columns in strata], axis=0)
    observed_C = np.array([interval.mean for interval in intervals.values()])
    as_far_C = (np.abs(flipped_RC) >= np.abs(observed_C) - _ROUNDING).sum(axis=0)
    return {
        name: PairedDifference(interval, (1 + int(as_far)) / (1 + NUM_FLIPS))
        for (name, interval), as_far in zip(intervals.items(), as_far_C, strict=True)
    }


def _flipped_means(
    values_NC: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the means under `NUM_FLIPS` random sign assignments: [R, C]."""
    # A difference of 0 in every column is the same under either sign.
    moving_MC = values_NC[values_NC.any(axis=1)] / len(values_NC)
    return np.concatenate(
        [
            (2.0 * rng.integers(0, 2, size=(_BLOCK, len(moving_MC)), dtype=np.int8) - 1) @ moving_MC
            for _ in range(NUM_FLIPS // _BLOCK)
        ]
    )
