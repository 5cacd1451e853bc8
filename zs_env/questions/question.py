"""A question with its gold answers: what one episode is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from zs_env.metrics import normalize_answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Paragraph:
    """A passage that came with a question; `is_gold` marks those the answer rests on."""

    title: str
    text: str
    is_gold: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question. Only `id`, `text` and `answers` are needed.

    Attributes:
        id: unique within its set.
        text: the question as the agent reads it.
        answers: gold answers, every alias counts alike; () where nobody knows one, as when a user
            asks: what such a question is answered with scores 0.
        source: name of the set the question came from.
        prompt: shown verbatim in place of the prompt template where a data set brings its own.
        paragraphs: passages that came with the question.
        metadata: further JSON values, such as `structure` and `hops`.
    """

    id: str
    text: str
    answers: tuple[str, ...]
    source: str = ""
    prompt: str | None = None
    paragraphs: tuple[Paragraph, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.answers, str):
            raise ValueError(
                f"answers of question {self.id!r} is the string {self.answers!r}; "
                "expected a sequence of strings: wrap it in a tuple"
            )
        object.__setattr__(self, "answers", tuple(self.answers))

    @property
    def is_yes_no(self) -> bool:
        """Whether no gold answer is more than yes or no, words that say nothing in a page."""
        return is_yes_no(self.answers)


@lru_cache(maxsize=16384)
def is_yes_no(answers: tuple[str, ...]) -> bool:
    """Whether all answers are yes or no; true of none."""
    return all(normalize_answer(answer) in ("yes", "no") for answer in answers)


class QuestionDataset(Protocol):
    """A sequence of questions. A list works."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Question: ...
