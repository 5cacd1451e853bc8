"""What the HTML report shows of an episode: a row of its list, and the transcript behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agents.evaluation.episode_result import EpisodeResult
from zs_env.actions import Answer, Malformed, Search
from zs_env.questions.question import is_yes_no
from zs_env.search.types import Document
from zs_env.transcripts.document_json import document_to_json
from zs_env.transcripts.transcript import Transcript, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One episode in the list.

    Attributes:
        evaluation: number of its evaluation in the report.
        index: number of its question in the set.
        question: its text; its id where no transcript was kept.
        answers: the gold ones.
        prediction: None where none was given.
        f1: of the prediction, as the next two; of an episode that a failure ended it says nothing.
        exact_match: 0 or 1.
        cover_match: 0 or 1.
        reward: sum of its terms.
        searches: sent to the engine.
        turns: actions taken.
        malformed: actions that were neither search nor answer.
        reason: why it ended.
        failure: what went wrong with the engine.
        documents: that were shown.
        noisy_documents: of them, those that were asked to be noise.
        chunk: of the report's chunks, the one with the transcript; None where none was kept.
        place: of the transcript in its chunk.
    """

    evaluation: int
    index: int
    question: str
    answers: tuple[str, ...]
    prediction: str | None
    f1: float
    exact_match: float
    cover_match: float
    reward: float
    searches: int
    turns: int
    malformed: int
    reason: str
    failure: str | None
    documents: int
    noisy_documents: int
    chunk: int | None
    place: int

    @classmethod
    def of(
        cls,
        evaluation: int,
        result: EpisodeResult,
        transcript: Transcript | None,
        *,
        chunk: int | None,
        place: int,
    ) -> ReportRow:
        """Put a result and its transcript together."""
        question = transcript.question if transcript else None
        return cls(
            evaluation=evaluation,
            index=result.index,
            question=question.text if question else result.question_id,
            answers=question.answers if question else (),
            prediction=transcript.prediction if transcript else None,
            f1=result.f1,
            exact_match=result.exact_match,
            cover_match=result.cover_match,
            reward=result.reward,
            searches=result.searches,
            turns=result.turns,
            malformed=result.malformed,
            reason=result.reason,
            failure=result.failure,
            documents=result.documents,
            noisy_documents=result.noisy_documents,
            chunk=chunk,
            place=place,
        )


def transcript_view(transcript: Transcript, number: Callable[[Document], int]) -> dict[str, Any]:
    """Return what opens behind a row, as JSON values.

    Args:
        transcript: what happened.
        number: keeps a document and returns its number among those kept; one page is often shown
            in many episodes.
    """
    question = transcript.question
    return {
        "prompt": transcript.prompt,
        "seed": transcript.seed,
        "id": question.id,
        "metadata": dict(question.metadata),
        # "yes" in a document says nothing about the question.
        "marked": [] if is_yes_no(question.answers) else list(question.answers),
        "reward_terms": [list(term) for term in transcript.reward_terms],
        "max_turns": transcript.max_turns,
        "noise": transcript.noise_probability,
        "turns": [_turn_view(turn, number) for turn in transcript.turns],
    }


def _turn_view(turn: Turn, number: Callable[[Document], int]) -> dict[str, Any]:
    view: dict[str, Any] = {"text": turn.text}
    match turn.action:
        case Search(query):
            view |= {"kind": "search", "query": query, "sent": turn.request is not None}
        case Answer():
            view |= {"kind": "answer"}
        case Malformed(kind):
            view |= {"kind": "malformed", "malformed": kind}
    if turn.documents:
        view["documents"] = [number(document) for document in turn.documents]
    elif turn.message:
        view["message"] = turn.message
    return view


def document_view(document: Document) -> dict[str, Any]:
    """Return a document as JSON values."""
    view = document_to_json(document)
    view.pop("rank", None)  # its place on the page says so
    return view
