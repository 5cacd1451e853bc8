"""Scores of each agent on each question set and on average, and paired differences of agents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.statistics import (
    Interval,
    PairedDifference,
    paired_differences,
    stratified_intervals,
)
from agents.studies.benchmark.config import AVERAGE

SCORES = ("substring_match", "exact_match", "cover_match", "f1")
METRICS = (*SCORES, "searches", "turns", "malformed_share", "answered")

_Pair = tuple[Sequence["Result"], Sequence["Result"]]  # of the agent and of the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(EpisodeResult):
    """One repeat (from 0) of an agent on a question of a set."""

    agent: str
    set: str
    repeat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The scores of an agent on a question set, or on average.

    Attributes:
        set: name of the set, or `AVERAGE`: the mean over the sets with equal weights.
        metrics: by name of `METRICS`. Repeats of a question are averaged first; the interval is a
            bootstrap over questions, within each set.
        failures: number of episodes that a failure ended. `metrics` excludes them.
        failed_questions: number of questions of which every episode failed.
    """

    agent: str
    set: str
    metrics: Mapping[str, Interval]
    questions: int
    episodes: int
    failures: int
    failed_questions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The scores of one agent minus those of another.

    Attributes:
        other: label of the agent whose scores are subtracted.
        metrics: differences by name of `SCORES`.
        questions: number of questions that either agent has results of.
        pairs: number of questions for which both have an episode without a failure. The others are
            excluded.
    """

    agent: str
    other: str
    set: str
    metrics: Mapping[str, PairedDifference]
    questions: int
    pairs: int


def csv_rows(scored: Score | Comparison) -> list[dict[str, Any]]:
    """Return one flat row for each metric; the `mean` of a comparison is the difference."""
    fields = asdict(scored)
    labels = {name: value for name, value in fields.items() if isinstance(value, str)}
    counts = {name: value for name, value in fields.items() if isinstance(value, int)}
    rows = []
    for metric, value in fields["metrics"].items():
        interval = value.pop("difference", {})
        rows.append({**labels, "metric": metric, **interval, **value, **counts})
    return rows


def score_all(results: Iterable[Result]) -> list[Score]:
    """Score every agent on each of its sets and on average, in the order of the results."""
    scores = []
    for agent, by_set in _by_agent(results).items():
        scores += [_score(agent, name, [some]) for name, some in by_set.items()]
        scores.append(_score(agent, AVERAGE, list(by_set.values())))
    return scores


def _by_agent(results: Iterable[Result]) -> dict[str, dict[str, list[Result]]]:
    """Group results by agent and set, in their order."""
    grouped: defaultdict[str, dict[str, list[Result]]] = defaultdict(dict)
    for result in results:
        grouped[result.agent].setdefault(result.set, []).append(result)
    return grouped


def question_means(results: Iterable[Result]) -> dict[str, dict[str, float]]:
    """Average the repeats of each question, without failed episodes: metrics by question id."""
    repeats: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        if result.failure is None:
            repeats[result.question_id].append(result)
    return {
        question: {
            metric: sum(getattr(one, metric) for one in some) / len(some) for metric in METRICS
        }
        for question, some in repeats.items()
    }


def _score(agent: str, name: str, strata: Sequence[Sequence[Result]]) -> Score:
    means = [question_means(some) for some in strata]
    columns = [
        {metric: [one[metric] for one in stratum.values()] for metric in METRICS}
        for stratum in means
    ]
    questions = sum(len({result.question_id for result in some}) for some in strata)
    episodes = [result for some in strata for result in some]
    return Score(
        agent=agent,
        set=name,
        metrics=stratified_intervals(columns),
        questions=questions,
        episodes=len(episodes),
        failures=sum(result.failure is not None for result in episodes),
        failed_questions=questions - sum(map(len, means)),
    )


def compare_all(results: Iterable[Result]) -> list[Comparison]:
    """Compare every agent with each earlier one, on every shared set and on average."""
    by_agent = _by_agent(results)
    comparisons = []
    for other, agent in combinations(by_agent, 2):
        first, second = by_agent[agent], by_agent[other]
        shared = {name: (first[name], second[name]) for name in first if name in second}
        comparisons += [_compare(agent, other, name, [pair]) for name, pair in shared.items()]
        comparisons.append(_compare(agent, other, AVERAGE, list(shared.values())))
    return comparisons


def _compare(agent: str, other: str, name: str, strata: Sequence[_Pair]) -> Comparison:
    differences = [_differences(*pair) for pair in strata]
    return Comparison(
        agent=agent,
        other=other,
        set=name,
        metrics=paired_differences(differences),
        questions=sum(len({one.question_id for one in (*a, *b)}) for a, b in strata),
        pairs=sum(len(columns[SCORES[0]]) for columns in differences),
    )


def _differences(first: Sequence[Result], second: Sequence[Result]) -> dict[str, list[float]]:
    means, other_means = question_means(first), question_means(second)
    shared = [question for question in means if question in other_means]
    return {
        metric: [means[one][metric] - other_means[one][metric] for one in shared]
        for metric in SCORES
    }
