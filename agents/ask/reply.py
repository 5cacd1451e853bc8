"""The reply to a question: the answer, and the documents that support it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from zs_env.metrics import contains_answer
from zs_env.questions.question import is_yes_no
from zs_env.transcripts.transcript import Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A document that the agent saw.

    Attributes:
        search: number of the search that returned it, from 1.
        rank: its position in that page, from 1.
        query: of the search.
        title: "" without one.
        text: as shown.
        engine: name of the engine.
        contains_answer: whether it contains the given answer.
    """

    search: int
    rank: int
    query: str
    title: str
    text: str
    engine: str
    contains_answer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The reply to one question.

    Attributes:
        id: of the question, or else its number.
        question: its text.
        answer: None without one.
        reason: "answer", "turn_limit", or "failure".
        failure: the engine's error; None without one.
        turns: number of actions.
        queries: of all searches, in order.
        sources: the distinct documents that contain the answer; all documents if none does, as
            with yes or no.
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
        """Return the reply of a finished transcript."""
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
            sources=tuple(one for one in sources if one.contains_answer) or sources,
        )


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
                contains_answer=not is_yes_no(answers)
                and contains_answer(f"{document.title} {document.text}", answers),
            )
