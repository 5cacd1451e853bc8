"""Questions that occur twice in a set, or in two sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zs_env.metrics import normalize_answer
from zs_env.questions.question import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """How the text of one question is repeated.

    Attributes:
        repeats: id of the first question of the set with the same normalized text; "" for that
            first question itself.
        exact: whether an earlier question of the set has exactly the same text.
        conflicting: whether another question of the set has the same normalized text, and the two
            share no normalized gold answer.
        also_in: names of the other sets with a question of the same normalized text.
    """

    repeats: str = ""
    exact: bool = False
    conflicting: bool = False
    also_in: tuple[str, ...] = ()


def normalized_text(question: Question) -> str:
    """Return a question's text without case, punctuation, articles and repeated spaces."""
    return normalize_answer(question.text)


def find_repetitions(
    questions: Sequence[Question], others: Mapping[str, Sequence[Question]]
) -> list[Repetition]:
    """Compare each question with those of its own set and of other sets.

    Args:
        questions: one set.
        others: the other sets, by name.

    Returns:
        One item for each question of the set, in their order.
    """
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(normalized_text(question), []).append(question)
    conflicting = {one for group in groups.values() for one in _conflicting(group)}
    elsewhere = {name: set(map(normalized_text, other)) for name, other in others.items()}
    seen: set[str] = set()
    found = []
    for question in questions:
        text = normalized_text(question)
        first = groups[text][0]
        found.append(
            Repetition(
                repeats="" if first is question else first.id,
                exact=question.text in seen,
                conflicting=question.id in conflicting,
                also_in=tuple(name for name, texts in elsewhere.items() if text in texts),
            )
        )
        seen.add(question.text)
    return found


def _conflicting(group: Sequence[Question]) -> list[str]:
    """Return ids of the questions that share no gold answer with another one of the group."""
    by_answer: dict[str, set[str]] = {}
    answers = {one.id: set(map(normalize_answer, one.answers)) for one in group}
    for name, its in answers.items():
        for answer in its:
            by_answer.setdefault(answer, set()).add(name)
    return [
        name
        for name, its in answers.items()
        if len({name}.union(*(by_answer[answer] for answer in its))) < len(group)
    ]
