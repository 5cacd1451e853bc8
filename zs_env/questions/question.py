"""The question of an episode, with its gold answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from zs_env.metrics import as_answers
from zs_env.questions.hidden_answers import is_yes_no

MAX_LISTED_QUESTIONS = 1_000_000  # larger sets generate their questions, as a world does


@dataclass(frozen=True, kw_only=True, slots=True)
class Paragraph:
    """A passage of a question; `is_gold` marks the passages that support the answer."""

    title: str
    text: str
    is_gold: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A question. `id`, `text` and `answers` are required.

    Attributes:
        id: unique within its data set.
        text: the question's text.
        answers: gold answers and their aliases; a string is one answer. Empty if unknown;
            predictions then score 0.
        source: name of the data set.
        prompt: a prompt that replaces the prompt template, if the data set has one.
        paragraphs: passages that belong to the question.
        gold_titles: ids or titles of the documents that support the answer, without those of
            `paragraphs`.
        metadata: further JSON values, such as `structure` and `hops`.
    """

    id: str
    text: str
    answers: tuple[str, ...]
    source: str = ""
    prompt: str | None = None
    paragraphs: tuple[Paragraph, ...] = ()
    gold_titles: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        answers = as_answers(self.answers)
        for answer in answers:
            if not isinstance(answer, str):
                raise ValueError(
                    f"got the answer {answer!r} of question {self.id!r}, expected a string"
                )
        object.__setattr__(self, "answers", answers)

    @property
    def gold_documents(self) -> tuple[str, ...]:
        """Ids or titles of the documents that support the answer; empty if unknown."""
        titles = [one.title for one in self.paragraphs if one.is_gold and one.title.strip()]
        return tuple(dict.fromkeys([*self.gold_titles, *titles]))

    @property
    def is_yes_no(self) -> bool:
        """Whether all gold answers are yes or no; documents are not checked for such answers."""
        return is_yes_no(self.answers)


class QuestionDataset(Protocol):
    """A map-style data set of questions, such as a list; it may be unlimited in length."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Question: ...


def generates_questions(questions: QuestionDataset) -> bool:
    """Whether a set is too large to visit all its questions, because it generates them.

    A list or tuple of any length is in memory, so it does not.
    """
    listed = isinstance(questions, list | tuple)
    return not listed and len(questions) > MAX_LISTED_QUESTIONS


def check_questions(questions: Any) -> None:
    """Raise ValueError if a data set is empty or its first item is not a Question."""
    if isinstance(questions, str | Mapping):
        raise ValueError(
            f"got {questions!r} as questions, expected a list of Question objects; "
            "gymnasium.make and zs_env.config.build_questions read specs and file names"
        )
    if len(questions) < 1:
        raise ValueError("an environment needs at least one question, got none")
    if not isinstance(questions[0], Question):
        raise ValueError(
            f"the first question is a {type(questions[0]).__name__}, expected a Question; "
            "zs_env.questions.load_questions_file reads files"
        )


def questions_by_id(questions: QuestionDataset, ids: Sequence[str]) -> list[Question]:
    """Return the questions with the given ids, in the order of the ids.

    Raises:
        ValueError: if an id is repeated or missing.
    """
    if repeated := len(ids) - len(set(ids)):
        raise ValueError(f"{repeated} of {len(ids)} question ids are repeated; list each id once")
    wanted = set(ids)
    found = {
        question.id: question
        for question in (questions[index] for index in range(len(questions)))
        if question.id in wanted
    }
    missing = [one for one in ids if one not in found]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(ids)} ids, such as {missing[0]!r}, are not in the data set of "
            f"{len(questions)} questions; use ids of this data set, or load another one"
        )
    return [found[one] for one in ids]
