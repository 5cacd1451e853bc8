"""Means with bootstrap intervals, and paired differences with significance tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUM_RESAMPLES = 1000
NUM_FLIPS = 10_000
_ROWS_AT_ONCE = 2**16
_FLIPS_AT_ONCE = 250  # bounds the memory
_ROUNDING = 1e-12

Columns = Mapping[str, Sequence[float]]
Table = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the ends of its 95 % interval; all None without data."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None

    def format(self, digits: int = 3, *, scale: float = 1.0, sign: bool = False) -> str:
        """Return "mean [low, high]", or "-" without data."""
        if self.mean is None or self.low is None or self.high is None:
            return "-"
        form = f"{'+' if sign else ''}.{digits}f"
        mean, low, high = (format(scale * end, form) for end in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]"

    def format_mean(self, digits: int = 3) -> str:
        """Return the mean, or "-" without data."""
        return "-" if self.mean is None else f"{self.mean:.{digits}f}"

    def __str__(self) -> str:
        return self.format()


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A mean difference over pairs.

    Attributes:
        difference: mean and 95 % interval of a bootstrap over pairs.
        p_value: of a two-sided sign-flip permutation test; None without pairs.
    """

    difference: Interval
    p_value: float | None


def bootstrap_interval(values: Sequence[float]) -> Interval:
    """Return the mean and interval of one column, see `bootstrap_intervals`."""
    return bootstrap_intervals({"values": values})["values"]


def bootstrap_intervals(columns: Columns) -> dict[str, Interval]:
    """Return the mean and the 95 % percentile-bootstrap interval of each column.

    Args:
        columns: sequences of finite numbers of equal length, one entry an episode; they are
            resampled together. The same numbers give the same interval.

    Raises:
        ValueError: if the columns differ in length.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13.
    """
    return stratified_intervals([columns])


def stratified_intervals(strata: Sequence[Columns]) -> dict[str, Interval]:
    """Return the unweighted mean of the strata's means and its 95 % interval, for each column.

    Args:
        strata: columns as for `bootstrap_intervals`, with the same names. Each stratum is resampled
            separately, since the strata themselves are a fixed choice.

    Returns:
        An interval for each column; empty if a stratum is empty.

    Raises:
        ValueError: if the columns of a stratum differ in length.

    Source: Davison and Hinkley, "Bootstrap Methods and their Application", section 3.2.
    """
    names = list(strata[0]) if strata else []
    tables = [_table_of(columns) for columns in strata]
    if not all(len(values_NC) for values_NC in tables) or not names:
        return dict.fromkeys(names, Interval())
    rng = np.random.default_rng(0)
    means_RC = np.mean([_resampled_means(values_NC, rng) for values_NC in tables], axis=0)
    low_C, high_C = np.percentile(means_RC, [2.5, 97.5], axis=0)
    mean_C = np.mean([values_NC.mean(axis=0) for values_NC in tables], axis=0)
    return {
        name: Interval(float(mean), float(low), float(high))
        for name, mean, low, high in zip(names, mean_C, low_C, high_C, strict=True)
    }


def bootstrap_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Return the mean of one column over that of another, with its 95 % bootstrap interval.

    Resamples whose denominators are all 0 are ignored.

    Args:
        numerators: one entry an episode.
        denominators: not negative, of the same length; resampled together with the numerators.
    """
    values_N2 = np.array([list(numerators), list(denominators)], dtype=np.float64).T
    if not values_N2[:, 1].any():
        return Interval()
    top_R, bottom_R = _resampled_means(values_N2, np.random.default_rng(0)).T
    low, high = np.percentile(top_R[bottom_R > 0] / bottom_R[bottom_R > 0], [2.5, 97.5])
    top, bottom = values_N2.mean(axis=0)
    return Interval(float(top / bottom), float(low), float(high))


def paired_differences(strata: Sequence[Columns]) -> dict[str, PairedDifference]:
    """Return the mean difference of each column, with its interval and p-value.

    Under the null hypothesis a pair's difference has either sign with equal probability. The
    p-value is the share of random sign assignments whose mean is at least as far from 0 as the
    observed one, including the observed one.

    Args:
        strata: differences by column, as for `stratified_intervals`, one entry a pair. The
            statistic is the mean of the strata's means; signs are flipped pair by pair.

    Source: Fisher's randomization test as Smucker, Allan and Carterette, "A Comparison of
    Statistical Significance Tests for Information Retrieval Evaluation" (CIKM 2007), recommend it;
    the observed assignment is counted after Phipson and Smyth (2010, arXiv:1603.05766).
    """
    intervals = stratified_intervals(strata)
    if any(interval.mean is None for interval in intervals.values()):
        return {name: PairedDifference(one, None) for name, one in intervals.items()}
    rng = np.random.default_rng(0)
    flipped_RC = np.mean([_flipped_means(_table_of(columns), rng) for columns in strata], axis=0)
    observed_C = np.array([interval.mean for interval in intervals.values()])
    as_far_C = (np.abs(flipped_RC) >= np.abs(observed_C) - _ROUNDING).sum(axis=0)
    return {
        name: PairedDifference(interval, (1 + int(as_far)) / (1 + NUM_FLIPS))
        for (name, interval), as_far in zip(intervals.items(), as_far_C, strict=True)
    }


def _table_of(columns: Columns) -> Table:
    """Return the columns as one [N, C] array."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns must have equal length, got {lengths}")
    return np.array([list(values) for values in columns.values()], dtype=np.float64).T


def _resampled_means(values_NC: Table, rng: np.random.Generator) -> Table:
    """Return the means of `NUM_RESAMPLES` draws of N rows with replacement: [R, C]."""
    num = len(values_NC)
    at_once = max(1, _ROWS_AT_ONCE // num)  # bounds the memory to some megabytes
    means = []
    for begin in range(0, NUM_RESAMPLES, at_once):
        drawn_RN = rng.integers(num, size=(min(at_once, NUM_RESAMPLES - begin), num))
        means.append(values_NC[drawn_RN].mean(axis=1))
    return np.concatenate(means)


def _flipped_means(values_NC: Table, rng: np.random.Generator) -> Table:
    """Return the means under `NUM_FLIPS` random sign assignments: [R, C]."""
    # A difference of 0 in every column is the same under either sign.
    moving_MC = values_NC[values_NC.any(axis=1)] / len(values_NC)
    size = (_FLIPS_AT_ONCE, len(moving_MC))
    means = []
    for _ in range(NUM_FLIPS // _FLIPS_AT_ONCE):
        signs_RM = 2.0 * rng.integers(0, 2, size=size, dtype=np.int8) - 1
        means.append(signs_RM @ moving_MC)
    return np.concatenate(means)
