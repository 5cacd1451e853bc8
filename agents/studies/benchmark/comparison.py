"""Paired differences between agents, on the questions that both have results of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from agents.evaluation.paired import PairedDifference, paired_differences
from agents.studies.benchmark.question_set import AVERAGE
from agents.studies.benchmark.result import Result
from agents.studies.benchmark.scores import SCORES, question_means, results_by_agent

_Pair = tuple[Sequence[Result], Sequence[Result]]  # results of the agent and of the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The scores of one agent minus those of another.

    Attributes:
        agent: label of the agent.
        other: label of the agent whose scores are subtracted.
        set: name of the set, or `AVERAGE`.
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

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row for each metric; `mean` is the difference."""
        return [
            {
                "agent": self.agent,
                "other": self.other,
                "set": self.set,
                "metric": metric,
                **paired.difference.to_json(),
                "p_value": paired.p_value,
                "questions": self.questions,
                "pairs": self.pairs,
            }
            for metric, paired in self.metrics.items()
        ]


def compare_all(results: Iterable[Result]) -> list[Comparison]:
    """Compare every agent with each earlier one, on every shared set and on average."""
    by_agent = results_by_agent(results)
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
