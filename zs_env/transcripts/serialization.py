"""Transcripts to JSON and back, without loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from zs_env.actions import Answer, Malformed, Search
from zs_env.questions.question import Paragraph, Question
from zs_env.search.types import SearchRequest
from zs_env.transcripts.document_json import document_from_json, document_to_json
from zs_env.transcripts.transcript import Transcript, Turn

# Increased by every change that makes older readers misread a transcript.
SCHEMA_VERSION = 1

_PLAIN = (
    "prompt",
    "reason",
    "failure",
    "noise_probability",
    "seed",
    "max_turns",
    "num_documents",
)


def transcript_to_json(transcript: Transcript) -> dict[str, Any]:
    """Return the transcript and the version of its schema as JSON values."""
    return {
        "schema": SCHEMA_VERSION,
        "question": _question_to_json(transcript.question),
        **{name: getattr(transcript, name) for name in _PLAIN},
        "turns": [_turn_to_json(turn) for turn in transcript.turns],
        "reward_terms": [list(term) for term in transcript.reward_terms],
    }


def transcript_from_json(value: Mapping[str, Any]) -> Transcript:
    """Return the transcript that `transcript_to_json` wrote.

    Raises:
        ValueError: if the schema version differs, or a field is missing or malformed.
    """
    if value.get("schema") != SCHEMA_VERSION:
        raise ValueError(
            f"got a transcript of schema {value.get('schema')!r}, expected {SCHEMA_VERSION}; read "
            "it with the version of this package that wrote it"
        )
    try:
        return Transcript(
            question=_question_from_json(value["question"]),
            **{name: value[name] for name in _PLAIN},
            turns=tuple(map(_turn_from_json, value["turns"])),
            reward_terms=tuple((name, term) for name, term in value["reward_terms"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"got a transcript with a missing or malformed field ({type(error).__name__}: "
            f"{error}), expected one written by append_transcripts"
        ) from error


def _question_to_json(question: Question) -> dict[str, Any]:
    return {
        "id": question.id,
        "text": question.text,
        "answers": list(question.answers),
        "source": question.source,
        "prompt": question.prompt,
        "paragraphs": [asdict(paragraph) for paragraph in question.paragraphs],
        "metadata": dict(question.metadata),
    }


def _question_from_json(value: Mapping[str, Any]) -> Question:
    paragraphs = tuple(Paragraph(**paragraph) for paragraph in value["paragraphs"])
    return Question(**{**value, "paragraphs": paragraphs})


def _turn_to_json(turn: Turn) -> dict[str, Any]:
    request = turn.request
    return {
        "text": turn.text,
        "action": _action_to_json(turn.action),
        "request": None
        if request is None
        else {
            "query": request.query,
            "question": request.question,
            "answers": request.answers,
            "useful": request.useful,
            "seed": request.seed,
        },
        "documents": [document_to_json(document) for document in turn.documents],
        "message": turn.message,
    }


def _turn_from_json(value: Mapping[str, Any]) -> Turn:
    request = value["request"]
    return Turn(
        text=value["text"],
        action=_action_from_json(value["action"]),
        request=None if request is None else _request_from_json(request),
        documents=tuple(map(document_from_json, value["documents"])),
        message=value["message"],
    )


def _request_from_json(value: Mapping[str, Any]) -> SearchRequest:
    answers = value["answers"]
    return SearchRequest(
        query=value["query"],
        question=value["question"],
        answers=None if answers is None else tuple(answers),
        useful=tuple(value["useful"]),
        seed=value["seed"],
    )


def _action_to_json(action: Search | Answer | Malformed) -> dict[str, str]:
    match action:
        case Search(query):
            return {"search": query}
        case Answer(text):
            return {"answer": text}
        case Malformed(kind):
            return {"malformed": kind}


def _action_from_json(value: Mapping[str, Any]) -> Search | Answer | Malformed:
    match value:
        case {"search": query}:
            return Search(query)
        case {"answer": text}:
            return Answer(text)
        case {"malformed": kind}:
            return Malformed(kind)
    raise TypeError(f"got the action {value!r}, expected a search, an answer or malformed")
