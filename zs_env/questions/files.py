"""Questions from JSONL or Parquet files, with the field names of common data sets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from zs_env.metrics import squad_normalized
from zs_env.questions.paragraphs import read_gold_titles, read_paragraphs
from zs_env.questions.question import Question
from zs_env.questions.rows import RowLocation, read_rows

ID_FIELDS = ("id", "_id")  # HotpotQA and 2WikiMultihopQA have `_id`
QUESTION_FIELDS = ("question", "text")
_LOGGER = logging.getLogger(__name__)
# The answers of all of these fields are gold. MuSiQue has `answer_aliases`, PopQA
# `possible_answers`.
ANSWER_FIELDS = (
    *("answers", "golden_answers", "answer"),
    *("answer_aliases", "aliases", "possible_answers"),
)
# Within an answer that is an object: TriviaQA has `value` and aliases, SQuAD `text`.
_NESTED_FIELDS = ("value", "text", "aliases", "normalized_aliases")
SOURCE_FIELDS = ("source", "data_source")
_READ_FIELDS = {
    "prompt",
    "gold_titles",
    "gold_ids",
    *ID_FIELDS,
    *QUESTION_FIELDS,
    *ANSWER_FIELDS,
    *SOURCE_FIELDS,
}


def load_questions_file(path: str | Path, *, source: str = "") -> list[Question]:
    """Read all questions of a file.

    A row must have `question` (or `text`) and at least one of `ANSWER_FIELDS`, each a string or a
    list of strings; the answers of all these fields are gold. It may have `id` (or `_id`),
    `source` (or `data_source`), `prompt` (a string, or a list of chat messages, whose contents are
    joined), paragraphs and the names of gold documents (see `zs_env.questions.paragraphs`). Other
    strings, numbers and booleans become metadata.

    Args:
        path: JSONL file, JSON file with one list of rows, or Parquet file, plain or gzipped.
        source: source of rows without one; if empty, the name of the file.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if a row is malformed, with file, line (row in Parquet), field and fix.
    """
    name = source or Path(path).name.split(".")[0]
    return questions_from_rows(read_rows(path), source=name)


def load_questions_files(paths: Sequence[str | Path]) -> list[Question]:
    """Read several files and interleave their questions, so that the first ones are of all files.

    Raises:
        ValueError: if `paths` is empty, or two questions have the same id.
    """
    if not paths:
        raise ValueError("got no question file, expected at least one path")
    sets = [load_questions_file(path) for path in paths]
    questions = [q for turn in zip_longest(*sets) for q in turn if q is not None]
    owners: dict[str, str | Path] = {}
    for path, loaded in zip(paths, sets, strict=True):
        for question in loaded:
            if question.id in owners:
                raise ValueError(
                    f"{path} and {owners[question.id]} both contain the question id "
                    f"{question.id!r}, expected unique ids; list each file once, or rename ids"
                )
            owners[question.id] = path
    return questions


def questions_from_rows(
    rows: Iterable[tuple[RowLocation, Mapping[str, Any]]], *, source: str
) -> list[Question]:
    """Convert rows to questions; the id of a row without one is its source and number."""
    questions: list[Question] = []
    seen: dict[str, RowLocation] = {}
    bare: list[tuple[RowLocation, str]] = []
    for location, row in rows:
        row_source = _first(row, SOURCE_FIELDS)[1]
        if row_source is not None and not isinstance(row_source, str):
            raise location.error("source", row_source, "a string, the name of the data set")
        row_source = row_source or source
        question = Question(
            id=_read_id(_first(row, ID_FIELDS)[1], location, row_source),
            text=_read_text(row, location),
            answers=_read_answers(row, location),
            source=row_source,
            prompt=_read_prompt(row.get("prompt"), location),
            paragraphs=read_paragraphs(row, location),
            gold_titles=read_gold_titles(row, location),
            metadata=_read_metadata(row),
        )
        if question.id in seen:
            raise location.error(
                "id",
                question.id,
                f"a unique id ({seen[question.id].unit} {seen[question.id].number} has it too); "
                "make ids unique or omit them",
            )
        seen[question.id] = location
        questions.append(question)
        bare += [(location, one) for one in question.answers if not squad_normalized(one)]
    if bare:
        location, answer = bare[0]
        _LOGGER.warning(
            "%d gold answer%s, such as %r (%s), with articles and punctuation only; F1 and exact "
            "match compare these with their articles and punctuation",
            len(bare),
            "" if len(bare) == 1 else "s",
            answer,
            location,
        )
    return questions


def _first(row: Mapping[str, Any], fields: Iterable[str]) -> tuple[str | None, Any]:
    """Return the name and value of the first field that is not null."""
    for field in fields:
        if row.get(field) is not None:
            return field, row[field]
    return None, None


def _read_id(value: object, location: RowLocation, source: str) -> str:
    if value is None:
        return f"{source}:{location.number}"
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise location.error("id", value, "a string or an integer, or no id")
    return str(value)


def _read_text(row: Mapping[str, Any], location: RowLocation) -> str:
    field, text = _first(row, QUESTION_FIELDS)
    if field is None:
        raise location.error("question", None, f"a string in one of {list(QUESTION_FIELDS)}")
    if not isinstance(text, str) or not text.strip():
        raise location.error(field, text, "a string that is not empty, the question")
    return text


def _read_answers(row: Mapping[str, Any], location: RowLocation) -> tuple[str, ...]:
    """Return the answers of all fields, without repetitions."""
    answers: dict[str, None] = {}
    found = False
    for field in ANSWER_FIELDS:
        value = row.get(field)
        if value is None:
            continue
        found = True
        answers |= dict.fromkeys(_answers_of(value, field, location))
    if not found:
        raise location.error("answers", None, f"a list of strings in one of {list(ANSWER_FIELDS)}")
    if not answers:
        field, value = _first(row, ANSWER_FIELDS)
        raise location.error(str(field), value, "a string or a non-empty list of strings")
    return tuple(answers)


def _answers_of(value: Any, field: str, location: RowLocation) -> list[str]:
    if isinstance(value, Mapping):
        nested = [name for name in _NESTED_FIELDS if value.get(name) is not None]
        if not nested:
            raise location.error(field, value, f"an object with one of {list(_NESTED_FIELDS)}")
        return [
            answer
            for name in nested
            for answer in _answers_of(value[name], f"{field}.{name}", location)
        ]
    if field == "possible_answers" and isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise location.error(field, value, "a list of strings, or one as JSON") from None
    answers = [value] if isinstance(value, str) else value
    if not isinstance(answers, list):
        raise location.error(field, value, "a string or a list of strings")
    for number, answer in enumerate(answers):
        if not isinstance(answer, str) or not answer.strip():
            raise location.error(
                f"{field}[{number}]",
                answer,
                "a non-empty string; quote numbers and remove empty answers",
            )
    return answers


def _read_prompt(value: object, location: RowLocation) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise location.error("prompt", value, "a string or a list of {role, content} messages")
    contents: list[str] = []
    for number, message in enumerate(value):
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(content, str):
            raise location.error(f"prompt[{number}]", message, "a message {role, content}")
        contents.append(content)
    return "\n\n".join(contents)


def _read_metadata(row: Mapping[str, Any]) -> dict[str, object]:
    """Return the other scalar fields of the row and of its `metadata`."""
    nested = row.get("metadata")
    extra = {key: value for key, value in row.items() if key not in _READ_FIELDS}
    if isinstance(nested, Mapping):
        extra = {**nested, **extra}
    return {key: value for key, value in extra.items() if isinstance(value, str | int | float)}
