"""Means with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

NUM_RESAMPLES = 1000
_ROWS_AT_ONCE = 2**16


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the ends of its 95 % interval; all None without data."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """Return the fields as JSON values."""
        return asdict(self)

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


def bootstrap_interval(values: Sequence[float]) -> Interval:
    """Return the mean and interval of one column, see `bootstrap_intervals`."""
    return bootstrap_intervals({"values": values})["values"]


def bootstrap_intervals(
    columns: Mapping[str, Sequence[float]], *, seed: int = 0
) -> dict[str, Interval]:
    """Return the mean and the 95 % percentile-bootstrap interval of each column.

    Args:
        columns: sequences of finite numbers of equal length, one entry an episode; they are
            resampled together.
        seed: of the resampling; the same numbers and seed give the same interval.

    Raises:
        ValueError: if the columns differ in length.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13.
    """
    return stratified_intervals([columns], seed=seed)


def stratified_intervals(
    strata: Sequence[Mapping[str, Sequence[float]]], *, seed: int = 0
) -> dict[str, Interval]:
    """Return the unweighted mean of the strata's means and its 95 % interval, for each column.

    Args:
        strata: columns as for `bootstrap_intervals`, with the same names. Each stratum is resampled
            separately, since the strata themselves are a fixed choice.
        seed: of the resampling.

    Returns:
        An interval for each column; empty if a stratum is empty.

    Raises:
        ValueError: if the columns of a stratum differ in length.

    Source: Davison and Hinkley, "Bootstrap Methods and their Application", section 3.2.
    """
    names = list(strata[0]) if strata else []
    tables = [table_of(columns) for columns in strata]
    if not all(len(values_NC) for values_NC in tables) or not names:
        return dict.fromkeys(names, Interval())
    rng = np.random.default_rng(seed)
    means_RC = np.mean([_resampled_means(values_NC, rng) for values_NC in tables], axis=0)
    low_C, high_C = np.percentile(means_RC, [2.5, 97.5], axis=0)
    mean_C = np.mean([values_NC.mean(axis=0) for values_NC in tables], axis=0)
    return {
        name: Interval(float(mean), float(low), float(high))
        for name, mean, low, high in zip(names, mean_C, low_C, high_C, strict=True)
    }


def table_of(columns: Mapping[str, Sequence[float]]) -> npt.NDArray[np.float64]:
    """Return the columns as one [N, C] array.

    Raises:
        ValueError: if they differ in length.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns must have equal length, got {lengths}")
    return np.array([list(values) for values in columns.values()], dtype=np.float64).T


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


def _resampled_means(
    values_NC: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the means of `NUM_RESAMPLES` draws of N rows with replacement: [R, C]."""
    num = len(values_NC)
    # Bounds the memory to some megabytes.
    at_once = max(1, _ROWS_AT_ONCE // num)
    means = []
    for begin in range(0, NUM_RESAMPLES, at_once):
        drawn_RN = rng.integers(num, size=(min(at_once, NUM_RESAMPLES - begin), num))
        means.append(values_NC[drawn_RN].mean(axis=1))
    return np.concatenate(means)
