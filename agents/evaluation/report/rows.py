"""The episodes of the HTML report: a row in the list, and the transcript that opens with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.evaluation.episode_result import EpisodeResult
from zs_env.actions import Answer, Malformed, Search
from zs_env.questions.question import is_yes_no
from zs_env.search.types import Document
from zs_env.transcripts.serialization import document_to_json
from zs_env.transcripts.transcript import Transcript, Turn

_RESULT_COLUMNS = (
    "index",
    "prediction",
    "f1",
    "exact_match",
    "cover_match",
    "reward",
    "searches",
    "turns",
    "malformed",
    "reason",
    "failure",
    "documents",
    "noisy_documents",
)
# "evaluation" is its number in the report, "chunk" the number of the chunk with the transcript
# (None without one), and "place" the transcript's number in the chunk.
COLUMNS = ("evaluation", "chunk", "place", "question", "answers", *_RESULT_COLUMNS)


def report_row(
    evaluation: int,
    result: EpisodeResult,
    transcript: Transcript | None,
    *,
    chunk: int | None,
    place: int,
) -> list[Any]:
    """Return the values of `COLUMNS`; without a transcript, the question is its id."""
    question = transcript.question if transcript else None
    return [
        evaluation,
        chunk,
        place,
        question.text if question else result.question_id,
        question.answers if question else (),
        *(getattr(result, name) for name in _RESULT_COLUMNS),
    ]


def transcript_view(transcript: Transcript, number: Callable[[Document], int]) -> dict[str, Any]:
    """Return the transcript that opens with a row, as JSON values.

    Args:
        transcript: of the episode.
        number: stores a document and returns its number; many episodes often show the same one.
    """
    question = transcript.question
    return {
        "prompt": transcript.prompt,
        "seed": transcript.seed,
        "id": question.id,
        "metadata": dict(question.metadata),
        # The word "yes" in a document is not an answer to the question.
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
    """Return a document as JSON values, without its rank, which is its position in the page."""
    view = document_to_json(document)
    view.pop("rank", None)
    return view
