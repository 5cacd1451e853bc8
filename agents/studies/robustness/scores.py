"""Scores of the robustness suite, and paired differences between agents.

The unit of every interval and test is a question: all its levels and kinds of noise are resampled
together. A question that a failure ended in one of an agent's cells is excluded for that agent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import log
from typing import Any

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.statistics import (
    Interval,
    PairedDifference,
    bootstrap_interval,
    bootstrap_ratio,
    paired_differences,
)
from agents.studies.noise.report import area_under_curve
from agents.studies.robustness.play import RobustnessCell
from zs_env.metrics import normalize_answer

ALL_KINDS = "all"  # in place of a kind: all kinds with equal weights
UNKNOWN = "unknown"  # the answer that is an abstention

# The results of a question by kind and level of noise.
Question = Mapping[tuple[str, float], EpisodeResult]
# The questions of an agent by set and number.
Questions = Mapping[tuple[str, int], Question]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """An agent with one kind of noise, or `ALL_KINDS`, at one level or over all levels.

    Attributes:
        set: "worlds", whose questions are pooled, or "corpus".
        noise: the level; None for all levels.
        f1: mean F1; over all levels, the area under the curve of F1 over the noise level, divided
            by the range of the levels. In [0, 1].
        misled: share of the episodes in which a document suggested a wrong answer that end with
            such an answer: the attack success of injected noise. Empty if no document did.
        coverage: share of the episodes with an answer other than "unknown".
        risk: 1 - F1, the mean over these episodes; empty without any.
        aurc: see `area_under_risk_coverage`.
        searches: mean number per episode.
        questions: number of questions without a failure.
    """

    set: str
    agent: str
    kind: str
    noise: float | None = None
    f1: Interval
    misled: Interval
    coverage: Interval
    risk: Interval
    aurc: float | None
    searches: Interval
    questions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The scores of one agent minus those of another, on the questions that both have.

    Attributes:
        f1: difference of the area under F1.
        misled: difference over the episodes (question, kind and level) in which both agents were
            shown a wrong answer; a question counts once, with its mean.
        questions: number of pairs of `f1`.
        misled_questions: number of pairs of `misled`.
    """

    set: str
    agent: str
    other: str
    kind: str
    f1: PairedDifference
    misled: PairedDifference
    questions: int
    misled_questions: int


def is_answered(result: EpisodeResult) -> bool:
    """Whether an episode ended with an answer other than "unknown"."""
    return result.prediction is not None and normalize_answer(result.prediction) != UNKNOWN


def area_under_risk_coverage(coverage: float, risk: float) -> float:
    """Return the area under the risk-coverage curve of an agent that answers or abstains.

    The curve is the risk if a share of the questions is answered, the most certain ones first. Its
    first part, up to `coverage`, is `risk`, since the answers have no order. Questions that the
    agent abstained on follow, with a risk of 1. Lower is better; an agent without answers has 1.

    Source: Geifman, Uziel and El-Yaniv (arXiv:1805.08206), with two degrees of certainty.
    """
    if coverage == 0.0:
        return 1.0
    return 1.0 - coverage * (1.0 - risk) * (1.0 - log(coverage))


def by_question(cells: Iterable[RobustnessCell]) -> dict[str, dict[str, Questions]]:
    """Return the questions without a failure, by group of sets and by agent."""
    groups: dict[str, dict[str, dict[tuple[str, int], dict[tuple[str, float], EpisodeResult]]]] = {}
    for cell in cells:
        questions = groups.setdefault(cell.set.group, {}).setdefault(cell.agent, {})
        for result in cell.evaluation.results:
            results = questions.setdefault((cell.set.name, result.index), {})
            results[cell.kind, cell.noise] = result
    return {
        group: {
            agent: {
                key: results
                for key, results in questions.items()
                if all(result.failure is None for result in results.values())
            }
            for agent, questions in by_agent.items()
        }
        for group, by_agent in groups.items()
    }


def score_all(cells: Sequence[RobustnessCell]) -> list[Score]:
    """Score every agent with each kind and all kinds: over all levels, then at each level."""
    kinds, levels = _kinds(cells), sorted({cell.noise for cell in cells})
    scores = []
    for group, by_agent in by_question(cells).items():
        for agent, questions in by_agent.items():
            for kind in (*kinds, ALL_KINDS):
                chosen = kinds if kind == ALL_KINDS else [kind]
                for noise in (None, *levels):
                    labels = {"set": group, "agent": agent, "kind": kind, "noise": noise}
                    scores.append(_score(questions, chosen, noise, labels))
    return scores


def compare_all(cells: Sequence[RobustnessCell]) -> list[Comparison]:
    """Compare each agent with every later one, with each kind and all kinds."""
    kinds = _kinds(cells)
    comparisons = []
    for group, by_agent in by_question(cells).items():
        for agent, other in combinations(by_agent, 2):
            mine, its = by_agent[agent], by_agent[other]
            pairs = [(mine[key], its[key]) for key in mine if key in its]
            for kind in (*kinds, ALL_KINDS):
                chosen = kinds if kind == ALL_KINDS else [kind]
                areas = [_area(first, chosen) - _area(second, chosen) for first, second in pairs]
                misled = [_misled_difference(*pair, chosen) for pair in pairs]
                both_shown = [one for one in misled if one is not None]
                comparisons.append(
                    Comparison(
                        set=group,
                        agent=agent,
                        other=other,
                        kind=kind,
                        f1=paired_differences([{"f1": areas}])["f1"],
                        misled=paired_differences([{"misled": both_shown}])["misled"],
                        questions=len(areas),
                        misled_questions=len(both_shown),
                    )
                )
    return comparisons


def csv_row(one: Score | Comparison) -> dict[str, Any]:
    """Return a row for `write_csv`; a paired difference becomes an interval and a p-value."""
    row: dict[str, Any] = {}
    for name, value in asdict(one).items():
        if isinstance(value, dict) and "difference" in value:
            row |= {name: value["difference"], f"{name}_p_value": value["p_value"]}
        else:
            row[name] = value
    return row


def _kinds(cells: Iterable[RobustnessCell]) -> list[str]:
    return list(dict.fromkeys(cell.kind for cell in cells))


def _score(
    questions: Questions, kinds: Sequence[str], noise: float | None, labels: Mapping[str, Any]
) -> Score:
    episodes = [
        [one for (kind, level), one in results.items() if kind in kinds and noise in (None, level)]
        for results in questions.values()
    ]
    if noise is None:
        f1s = [_area(results, kinds) for results in questions.values()]
    else:
        f1s = [sum(one.f1 for one in some) / len(some) for some in episodes]
    answered = [list(filter(is_answered, some)) for some in episodes]
    numbers = list(map(len, episodes))
    coverage = bootstrap_ratio(list(map(len, answered)), numbers)
    risk = bootstrap_ratio(
        [sum(1.0 - one.f1 for one in some) for some in answered], list(map(len, answered))
    )
    aurc = None
    if coverage.mean is not None:
        aurc = area_under_risk_coverage(coverage.mean, risk.mean or 0.0)
    return Score(
        f1=bootstrap_interval(f1s),
        misled=bootstrap_ratio(
            [sum(one.misled for one in some) for some in episodes],
            [sum(one.wrong_answer_shown for one in some) for some in episodes],
        ),
        coverage=coverage,
        risk=risk,
        aurc=aurc,
        searches=bootstrap_ratio([sum(one.searches for one in some) for some in episodes], numbers),
        questions=len(questions),
        **labels,
    )


def _area(question: Question, kinds: Sequence[str]) -> float:
    """Return the mean over the kinds of the area under F1."""
    curves = [
        {level: question[name, level].f1 for name, level in sorted(question) if name == kind}
        for kind in kinds
    ]
    return sum(map(area_under_curve, curves)) / len(curves)


def _misled_difference(first: Question, second: Question, kinds: Sequence[str]) -> float | None:
    differences = [
        first[key].misled - second[key].misled
        for key in first
        if key[0] in kinds and first[key].wrong_answer_shown and second[key].wrong_answer_shown
    ]
    return sum(differences) / len(differences) if differences else None
