"""Differences between two arms, paired by seed and question, with intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from agents.evaluation.statistics import Interval
from benchmarks.claims.results import RunResult

NUM_RESAMPLES = 4000


def paired_interval(
    one: Mapping[int, RunResult], other: Mapping[int, RunResult], setting: str
) -> Interval:
    """Return the mean F1 of one arm minus that of another, over shared seeds, with its interval.

    Args:
        one: results by seed.
        other: results by seed.
        setting: of the evaluation.

    Raises:
        ValueError: if the numbers of questions differ.
    """
    seeds = sorted(one.keys() & other.keys())
    if not seeds:
        return Interval()
    sizes = {len(row.percents[setting]) for arm in (one, other) for row in arm.values()}
    if len(sizes) > 1:
        raise ValueError(f"arms are paired by question, but have {sorted(sizes)} questions")
    return bootstrap_both(np.array([one[s].f1_Q(setting) - other[s].f1_Q(setting) for s in seeds]))


def bootstrap_both(differences_SQ: npt.NDArray[np.float64], *, seed: int = 0) -> Interval:
    """Return the mean and 95 % interval of paired differences, over both seeds and questions.

    Seeds and questions are resampled independently, since all seeds use the same questions. Of S
    seeds, S - 1 are drawn; S draws would underestimate the variance between few seeds. Since few
    seeds estimate this variance badly, resamples follow Student's t: with S - 1 degrees of freedom
    if only seeds differ, and with more if questions differ too. With one seed, the interval
    accounts for questions only.

    With standard deviations of 0 to 0.15 between seeds and 256 questions, such 95 % intervals
    contained the true value in 94 to 99 % of 300 simulated studies of 5 seeds, and in 91 to 100 %
    of 3 seeds.

    Args:
        differences_SQ: [S, Q], one row for each seed, one column for each question.
        seed: of the resampling.

    Source: Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007; for S - 1,
    Rao and Wu, "Resampling inference with complex survey data", 1988; for the degrees of freedom,
    Satterthwaite, "An approximate distribution of estimates of variance components", 1946.
    """
    num_seeds, num_questions = differences_SQ.shape
    rng = np.random.default_rng(seed)
    drawn_RS = _shares(rng, num_seeds, max(num_seeds - 1, 1))
    drawn_RQ = _shares(rng, num_questions, num_questions)
    off_R = ((drawn_RS @ differences_SQ) * drawn_RQ).sum(axis=1) - differences_SQ.mean()
    if num_seeds > 1 and off_R.any():
        of_seeds = differences_SQ.mean(axis=1).var(ddof=1) / num_seeds
        freedom = (num_seeds - 1) / max(min(of_seeds / off_R.var(), 1.0), 1e-3) ** 2
        off_R /= np.sqrt(rng.chisquare(freedom, size=NUM_RESAMPLES) / freedom)
    mean = float(differences_SQ.mean())
    low, high = np.percentile(off_R, [2.5, 97.5])
    return Interval(mean, mean + float(low), mean + float(high))


def _shares(rng: np.random.Generator, count: int, draws: int) -> npt.NDArray[np.float64]:
    """Return the weight of each item in each resample, [R, count]."""
    return rng.multinomial(draws, np.full(count, 1 / count), size=NUM_RESAMPLES) / draws
