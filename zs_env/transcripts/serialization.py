"""Transcripts and documents to JSON and back, without loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from zs_env.actions import DEFAULT_TOOLS, Answer, Malformed, Open, Search
from zs_env.questions.question import Paragraph, Question
from zs_env.search.types import Document, SearchRequest
from zs_env.transcripts.transcript import Transcript, Turn, Verdict

# Increased by every change that makes older readers misread a transcript.
SCHEMA_VERSION = 2
_DOCUMENT_DEFAULTS = {field.name: field.default for field in fields(Document)}
# Values that are omitted.
_REQUEST_DEFAULTS = {"noise_kind": "irrelevant", "document": None, "queries": ()}
_TRANSCRIPT_DEFAULTS = {"tools": DEFAULT_TOOLS, "max_queries": 1}
Made = TypeVar("Made")


def document_to_json(document: Document) -> dict[str, Any]:
    """Return a document as JSON values; fields with their default value are omitted."""
    return {
        name: value
        for name, value in _fields(document).items()
        if value is not _DOCUMENT_DEFAULTS[name]
    }


def document_from_json(value: Mapping[str, Any]) -> Document:
    """Return the document that `document_to_json` wrote."""
    return Document(**{name: _frozen(item) for name, item in value.items()})


def transcript_to_json(transcript: Transcript) -> dict[str, Any]:
    """Return the transcript and the version of its schema as JSON values.

    The verdict is omitted if it is None.
    """
    question, verdict = transcript.question, transcript.verdict
    values = {
        "schema": SCHEMA_VERSION,
        **_fields(transcript, _TRANSCRIPT_DEFAULTS),
        "question": {
            **_fields(question),
            "paragraphs": [_fields(paragraph) for paragraph in question.paragraphs],
            "metadata": dict(question.metadata),
        },
        "turns": [_turn_to_json(turn) for turn in transcript.turns],
    }
    if verdict is None:
        del values["verdict"]
    else:
        values["verdict"] = _fields(verdict)
    return values


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
        question, verdict = value["question"], value.get("verdict")
        paragraphs = tuple(_make(Paragraph, one) for one in question["paragraphs"])
        return _make(
            Transcript,
            {**_TRANSCRIPT_DEFAULTS, **value},
            question=_make(Question, question, paragraphs=paragraphs),
            turns=tuple(map(_turn_from_json, value["turns"])),
            verdict=None if verdict is None else _make(Verdict, verdict),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"got a transcript with a missing or malformed field ({type(error).__name__}: "
            f"{error}), expected one written by append_transcripts"
        ) from error


def _turn_to_json(turn: Turn) -> dict[str, Any]:
    match turn.action:
        case Search(query):
            action = {"search": query}
        case Open(document, part):
            action = {"open": [document, part]}
        case Answer(text):
            action = {"answer": text}
        case Malformed(kind):
            action = {"malformed": kind}
    return {
        **_fields(turn),
        "action": action,
        "request": None if turn.request is None else _request_to_json(turn.request),
        "documents": [document_to_json(document) for document in turn.documents],
    }


def _request_to_json(request: SearchRequest) -> dict[str, Any]:
    values = _fields(request, _REQUEST_DEFAULTS)
    if request.document is not None:
        values["document"] = document_to_json(request.document)
    if request.queries:
        values["queries"] = list(map(_request_to_json, request.queries))
    return values


def _request_from_json(value: Mapping[str, Any]) -> SearchRequest:
    value = {**_REQUEST_DEFAULTS, **value}
    document = value["document"]
    opened = None if document is None else document_from_json(document)
    queries = tuple(map(_request_from_json, value["queries"]))
    return _make(SearchRequest, value, document=opened, queries=queries)


def _turn_from_json(value: Mapping[str, Any]) -> Turn:
    match value["action"]:
        case {"search": query}:
            action = Search(query)
        case {"open": [document, part]}:
            action = Open(document, part)
        case {"answer": text}:
            action = Answer(text)
        case {"malformed": kind}:
            action = Malformed(kind)
        case other:
            raise TypeError(
                f"got the action {other!r}, expected a search, open, answer or malformed"
            )
    request = value["request"]
    return _make(
        Turn,
        value,
        action=action,
        request=None if request is None else _request_from_json(request),
        documents=tuple(map(document_from_json, value["documents"])),
    )


def _fields(instance: Any, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the fields of a dataclass without those that have the value in `defaults`.

    Unlike `asdict`, values are not copied.
    """
    values = {field.name: getattr(instance, field.name) for field in fields(instance)}
    for name, default in (defaults or {}).items():
        if values[name] == default:
            del values[name]
    return values


def _make(kind: type[Made], value: Mapping[str, Any], **converted: Any) -> Made:
    """Make a dataclass from a mapping with all of its fields."""
    names = [field.name for field in fields(kind) if field.name not in converted]  # type: ignore[arg-type]
    return kind(**{name: _frozen(value[name]) for name in names} | converted)


def _frozen(value: Any) -> Any:
    # JSON has no tuples, and requests and documents must be hashable.
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
