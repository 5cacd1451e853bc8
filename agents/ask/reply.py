"""What became of an asked question: the answer, and the documents that it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

from zs_env.metrics import contains_answer
from zs_env.questions.question import is_yes_no
from zs_env.transcripts.transcript import Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A document that was shown.

    Attributes:
        search: number of the search that brought it, from 1.
        rank: its place on that page, from 1.
        query: what was searched.
        title: "" where it has none.
        text: as it was shown.
        engine: that gave it.
        holds_answer: whether the answer that was given stands in it.
    """

    search: int
    rank: int
    query: str
    title: str
    text: str
    engine: str
    holds_answer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One question, asked.

    Attributes:
        id: the question's own, or its number.
        question: as it was asked.
        answer: None where none was given.
        reason: "answer", "turn_limit", or "failure".
        failure: what went wrong with the engine; None where nothing did.
        turns: actions taken.
        queries: what was searched, in order.
        sources: the documents that hold the answer; all that were shown where none holds it, as
            none does a yes or a no. Each once.
    """

    id: str
    question: str
    answer: str | None
    reason: str
    failure: str | None
    turns: int
    queries: tuple[str, ...]
    sources: tuple[Source, ...]

    @classmethod
    def of(cls, transcript: Transcript) -> Self:
        """Read it from a finished transcript."""
        shown: dict[tuple[str, str], Source] = {}
        for one in _shown(transcript):
            shown.setdefault((one.title, one.text), one)
        sources = tuple(shown.values())
        return cls(
            id=transcript.question.id,
            question=transcript.question.text,
            answer=transcript.prediction,
            reason=transcript.reason or "unfinished",
            failure=transcript.failure,
            turns=len(transcript.turns),
            queries=tuple(turn.request.query for turn in transcript.turns if turn.request),
            sources=tuple(one for one in sources if one.holds_answer) or sources,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def _shown(transcript: Transcript) -> Iterator[Source]:
    answers = () if transcript.prediction is None else (transcript.prediction,)
    search = 0
    for turn in transcript.turns:
        if turn.request is None:
            continue
        search += 1
        for document in turn.documents:
            yield Source(
                search=search,
                rank=document.rank + 1,
                query=turn.request.query,
                title=document.title,
                text=document.text,
                engine=document.engine,
                holds_answer=not is_yes_no(answers)
                and contains_answer(f"{document.title} {document.text}", answers),
            )
