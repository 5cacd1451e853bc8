"""Means with their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

NUM_RESAMPLES = 1000
_ROWS_AT_ONCE = 2**16


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the ends of its 95 % interval; all None where there was nothing to average."""

    mean: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """Return it as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        if self.mean is None:
            return "-"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_interval(values: Sequence[float]) -> Interval:
    """Mean and interval of one column, as `bootstrap_intervals` makes them."""
    return bootstrap_intervals({"values": values})["values"]


def bootstrap_intervals(
    columns: Mapping[str, Sequence[float]], *, seed: int = 0
) -> dict[str, Interval]:
    """Mean and 95 % percentile-bootstrap interval of each column.

    Args:
        columns: equally long sequences of finite numbers, one entry an episode; all are resampled
            together.
        seed: of the resampling; the same numbers and seed give the same interval.

    Raises:
        ValueError: if the columns are not equally long.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13.
    """
    return stratified_intervals([columns], seed=seed)


def stratified_intervals(
    strata: Sequence[Mapping[str, Sequence[float]]], *, seed: int = 0
) -> dict[str, Interval]:
    """Mean of the strata's means, each counting alike however large, and its 95 % interval.

    Args:
        strata: columns as `bootstrap_intervals` takes them, of the same names; each stratum is
            resampled within itself, as a mean over data sets of fixed choice needs it.
        seed: of the resampling.

    Returns:
        An interval for each column; all None where a stratum is empty.

    Raises:
        ValueError: if the columns of a stratum are not equally long.

    Source: Davison and Hinkley, "Bootstrap Methods and their Application", section 3.2.
    """
    names = list(strata[0]) if strata else []
    tables = [table_of(columns) for columns in strata]
    if not all(len(values_NC) for values_NC in tables) or not names:
        return dict.fromkeys(names, Interval(None, None, None))
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
        ValueError: if they are not equally long.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns must be equally long, got {lengths}")
    return np.array([list(values) for values in columns.values()], dtype=np.float64).T


def bootstrap_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Mean of one column over the mean of another, with its 95 % percentile-bootstrap interval.

    Resamples whose denominators are all 0 count for nothing.

    Args:
        numerators: one entry an episode.
        denominators: not negative, as many, resampled together with the numerators.
    """
    values_N2 = np.array([list(numerators), list(denominators)], dtype=np.float64).T
    if not values_N2[:, 1].any():
        return Interval(None, None, None)
    top_R, bottom_R = _resampled_means(values_N2, np.random.default_rng(0)).T
    low, high = np.percentile(top_R[bottom_R > 0] / bottom_R[bottom_R > 0], [2.5, 97.5])
    top, bottom = values_N2.mean(axis=0)
    return Interval(float(top / bottom), float(low), float(high))


def _resampled_means(
    values_NC: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the means of `NUM_RESAMPLES` draws of N rows with replacement: [R, C]."""
    num = len(values_NC)
    # Some megabytes of rows at once, however many episodes there are.
    at_once = max(1, _ROWS_AT_ONCE // num)
    means = []
    for begin in range(0, NUM_RESAMPLES, at_once):
        drawn_RN = rng.integers(num, size=(min(at_once, NUM_RESAMPLES - begin), num))
        means.append(values_NC[drawn_RN].mean(axis=1))
    return np.concatenate(means)
