"""Scores of each agent on each question set and on average, with intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.evaluation.statistics import Interval, stratified_intervals
from agents.studies.benchmark.question_set import AVERAGE
from agents.studies.benchmark.result import Result

SCORES = ("substring_match", "exact_match", "cover_match", "f1")
METRICS = (*SCORES, "searches", "turns", "malformed_share", "answered")

Means = Mapping[str, Mapping[str, float]]  # metric by question id


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The scores of an agent on a question set, or on average.

    Attributes:
        agent: label of the agent.
        set: name of the set, or `AVERAGE`: the mean over the sets with equal weights.
        metrics: by name of `METRICS`. Repeats of a question are averaged first; the interval is a
            bootstrap over questions, within each set.
        questions: number of questions.
        episodes: number of episodes.
        failures: number of episodes that an engine failure ended. `metrics` excludes them.
        failed_questions: number of questions of which every episode failed.
    """

    agent: str
    set: str
    metrics: Mapping[str, Interval]
    questions: int
    episodes: int
    failures: int
    failed_questions: int

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row for each metric."""
        return [
            {
                "agent": self.agent,
                "set": self.set,
                "metric": metric,
                **interval.to_json(),
                "questions": self.questions,
                "episodes": self.episodes,
                "failures": self.failures,
                "failed_questions": self.failed_questions,
            }
            for metric, interval in self.metrics.items()
        ]


def score_all(results: Iterable[Result]) -> list[Score]:
    """Score every agent on each of its sets and on average, in the order of the results."""
    scores = []
    for agent, by_set in results_by_agent(results).items():
        scores += [_score(agent, name, [some]) for name, some in by_set.items()]
        scores.append(_score(agent, AVERAGE, list(by_set.values())))
    return scores


def results_by_agent(results: Iterable[Result]) -> dict[str, dict[str, list[Result]]]:
    """Group results by agent and set, in their order."""
    grouped: defaultdict[str, dict[str, list[Result]]] = defaultdict(dict)
    for result in results:
        grouped[result.agent].setdefault(result.set, []).append(result)
    return dict(grouped)


def question_means(results: Iterable[Result]) -> Means:
    """Average the repeats of each question, without failed episodes."""
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
