"""Questions from a JSONL or Parquet file.

Field names are those that common sets use; what is not understood and scalar becomes metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from zs_env.questions.paragraphs import read_paragraphs
from zs_env.questions.question import Question
from zs_env.questions.rows import RowLocation, read_rows

QUESTION_FIELDS = ("question", "text")
ANSWER_FIELDS = ("answers", "golden_answers", "answer")
SOURCE_FIELDS = ("source", "data_source")
_READ_FIELDS = {"id", "prompt", *QUESTION_FIELDS, *ANSWER_FIELDS, *SOURCE_FIELDS}


def load_questions_file(path: str | Path, *, source: str = "") -> list[Question]:
    """Read all questions of a file.

    A row needs `question` (or `text`) and `answers` (or `golden_answers`, `answer`): a string or a
    list of them. It may bring `id`, `source` (or `data_source`), `prompt` (a string, or a list of
    chat messages whose contents are used verbatim) and `paragraphs`; see
    `zs_env.questions.paragraphs`. Other strings, numbers and booleans become metadata.

    Args:
        path: JSONL or Parquet, plain or gzipped.
        source: name of the set for rows that bring none; the file's name where empty.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming file, line (row in Parquet), field and fix.
    """
    name = source or Path(path).name.split(".")[0]
    return questions_from_rows(read_rows(path), source=name)


def load_questions_files(paths: Sequence[str | Path]) -> list[Question]:
    """Read several files, whose questions take turns: the first N hold some of each file.

    Raises:
        ValueError: if no file is named, or two questions have the same id.
    """
    if not paths:
        raise ValueError("no question file is named; expected at least one path")
    sets = [load_questions_file(path) for path in paths]
    questions = [q for turn in zip_longest(*sets) for q in turn if q is not None]
    owners: dict[str, str | Path] = {}
    for path, its_questions in zip(paths, sets, strict=True):
        for question in its_questions:
            if question.id in owners:
                raise ValueError(
                    f"{path} and {owners[question.id]} both hold a question with the id "
                    f"{question.id!r}; expected unique ids: name each file once, or rename ids"
                )
            owners[question.id] = path
    return questions


def questions_from_rows(
    rows: Iterable[tuple[RowLocation, Mapping[str, Any]]], *, source: str
) -> list[Question]:
    """Turn rows into questions with unique ids; a row without an id is named by its number."""
    questions: list[Question] = []
    seen: dict[str, RowLocation] = {}
    for place, row in rows:
        question = question_from_row(row, place, source=source)
        if question.id in seen:
            raise place.error(
                "id",
                question.id,
                f"an id that {seen[question.id].unit} {seen[question.id].number} does not have "
                "already; make ids unique or leave them out",
            )
        seen[question.id] = place
        questions.append(question)
    return questions


def question_from_row(row: Mapping[str, Any], place: RowLocation, *, source: str) -> Question:
    """Turn one row into a question.

    Raises:
        ValueError: naming place, field and fix.
    """
    row_source = _first(row, SOURCE_FIELDS)[1]
    if row_source is not None and not isinstance(row_source, str):
        raise place.error("source", row_source, "a string, the name of the set")
    row_source = row_source or source
    return Question(
        id=_read_id(row.get("id"), place, row_source),
        text=_read_text(row, place),
        answers=_read_answers(row, place),
        source=row_source,
        prompt=_read_prompt(row.get("prompt"), place),
        paragraphs=read_paragraphs(row, place),
        metadata=_read_metadata(row),
    )


def _first(row: Mapping[str, Any], fields: Iterable[str]) -> tuple[str | None, Any]:
    """Return the first of the fields that is there and not null, with its value."""
    for field in fields:
        if row.get(field) is not None:
            return field, row[field]
    return None, None


def _read_id(value: object, place: RowLocation, source: str) -> str:
    if value is None:
        return f"{source}:{place.number}"
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise place.error("id", value, "a string or a whole number, or no id at all")
    return str(value)


def _read_text(row: Mapping[str, Any], place: RowLocation) -> str:
    field, text = _first(row, QUESTION_FIELDS)
    if field is None:
        raise place.error("question", None, f"a string in one of {list(QUESTION_FIELDS)}")
    if not isinstance(text, str) or not text.strip():
        raise place.error(field, text, "a string that is not empty: the question's words")
    return text


def _read_answers(row: Mapping[str, Any], place: RowLocation) -> tuple[str, ...]:
    field, value = _first(row, ANSWER_FIELDS)
    if field is None:
        raise place.error("answers", None, f"a list of strings in one of {list(ANSWER_FIELDS)}")
    answers = [value] if isinstance(value, str) else value
    if not isinstance(answers, list) or not answers:
        raise place.error(field, value, "a string or a list of strings that is not empty")
    for number, answer in enumerate(answers):
        if not isinstance(answer, str) or not answer.strip():
            raise place.error(
                f"{field}[{number}]",
                answer,
                "a string that is not empty; write numbers in quotes and drop empty answers",
            )
    return tuple(answers)


def _read_prompt(value: object, place: RowLocation) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise place.error("prompt", value, "a string or a list of {role, content} messages")
    contents: list[str] = []
    for number, message in enumerate(value):
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(content, str):
            raise place.error(f"prompt[{number}]", message, "a message {role, content}")
        contents.append(content)
    return "\n\n".join(contents)


def _read_metadata(row: Mapping[str, Any]) -> dict[str, object]:
    """Collect the scalars of the row and of a `metadata` object in it."""
    nested = row.get("metadata")
    extra = {key: value for key, value in row.items() if key not in _READ_FIELDS}
    if isinstance(nested, Mapping):
        extra = {**nested, **extra}
    return {key: value for key, value in extra.items() if isinstance(value, str | int | float)}
