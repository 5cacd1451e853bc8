"""Agents against each other on the questions that both of them answered for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Self

from agents.evaluation.paired import PairedDifference, paired_differences
from agents.studies.benchmark.question_set import AVERAGE
from agents.studies.benchmark.result import Result
from agents.studies.benchmark.scores import SCORES, question_means, results_by_agent


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """By how much one agent is better than another.

    Attributes:
        agent: whose score counts positive.
        other: whose score is subtracted.
        set: name of the set, or `AVERAGE`.
        metrics: differences by name of `SCORES`.
        questions: that either was asked.
        pairs: of them, those of which both have an episode that no failure ended; the others are left
            out.
    """

    agent: str
    other: str
    set: str
    metrics: Mapping[str, PairedDifference]
    questions: int
    pairs: int


def compare_all(results: Iterable[Result]) -> list[Comparison]:
    """Compare every two agents, a later one with each before it, on every set and on average."""
    by_agent = results_by_agent(results)
    comparisons = []
    for other, agent in combinations(by_agent, 2):
        mine, theirs = by_agent[agent], by_agent[other]
        shared = {name: _Pairs.of(mine[name], theirs[name]) for name in mine if name in theirs}
        for name, strata in [*((one, [pairs]) for one, pairs in shared.items()),
                             (AVERAGE, list(shared.values()))]:  # fmt: skip
            comparisons.append(
                Comparison(
                    agent=agent,
                    other=other,
                    set=name,
                    metrics=paired_differences([pairs.differences for pairs in strata]),
                    questions=sum(pairs.questions for pairs in strata),
                    pairs=sum(pairs.count for pairs in strata),
                )
            )
    return comparisons


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Differences on one set, by metric, one entry for each question that both answered for."""

    differences: Mapping[str, Sequence[float]]
    questions: int
    count: int

    @classmethod
    def of(cls, mine: Sequence[Result], theirs: Sequence[Result]) -> Self:
        my_means, their_means = question_means(mine), question_means(theirs)
        both = [question for question in my_means if question in their_means]
        return cls(
            {
                metric: [my_means[one][metric] - their_means[one][metric] for one in both]
                for metric in SCORES
            },
            questions=len({result.question_id for result in (*mine, *theirs)}),
            count=len(both),
        )
