"""Scores by agent and set, and their mean over the sets, with intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agents.evaluation.statistics import Interval, stratified_intervals
from agents.studies.benchmark.question_set import AVERAGE
from agents.studies.benchmark.result import Result

SCORES = ("substring_match", "exact_match", "cover_match", "f1")
BEHAVIOUR = ("searches", "turns", "malformed_share", "answered")
METRICS = (*SCORES, *BEHAVIOUR)

Means = Mapping[str, Mapping[str, float]]  # metric by question id


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How an agent does on a set, or on average.

    Attributes:
        agent: what tables call it.
        set: the set's name, or `AVERAGE`: the mean over the sets, each counting alike.
        metrics: by name of `METRICS`; repeats of a question are averaged first, and the interval is
            of a bootstrap over questions, within each set.
        questions: that were asked.
        episodes: that were played.
        failures: of them, those that a failure of the engine ended. They say nothing about the agent
            and are left out of `metrics`.
        void_questions: without any other episode.
    """

    agent: str
    set: str
    metrics: Mapping[str, Interval]
    questions: int
    episodes: int
    failures: int
    void_questions: int


def score_all(results: Iterable[Result]) -> list[Score]:
    """Score every agent on every set that it has results of, and on average, in their order."""
    scores = []
    for agent, by_set in results_by_agent(results).items():
        for name, some in [*by_set.items(), (AVERAGE, None)]:
            strata = list(by_set.values()) if some is None else [some]
            scores.append(_score(agent, name, strata))
    return scores


def results_by_agent(results: Iterable[Result]) -> dict[str, dict[str, list[Result]]]:
    """Sort results by agent and set, in their order."""
    sorted_results: defaultdict[str, dict[str, list[Result]]] = defaultdict(dict)
    for result in results:
        sorted_results[result.agent].setdefault(result.set, []).append(result)
    return dict(sorted_results)


def question_means(results: Iterable[Result]) -> Means:
    """Average the repeats of each question that no failure ended."""
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
    questions = sum(len({result.question_id for result in some}) for some in strata)
    episodes = [result for some in strata for result in some]
    return Score(
        agent=agent,
        set=name,
        metrics=stratified_intervals(
            [
                {metric: [one[metric] for one in stratum.values()] for metric in METRICS}
                for stratum in means
            ]
        ),
        questions=questions,
        episodes=len(episodes),
        failures=sum(result.failure is not None for result in episodes),
        void_questions=questions - sum(map(len, means)),
    )
