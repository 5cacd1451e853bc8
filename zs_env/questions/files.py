"""Questions from JSONL or Parquet files, with the field names of common data sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from zs_env.questions.question import Paragraph, Question
from zs_env.questions.rows import RowLocation, read_rows

QUESTION_FIELDS = ("question", "text")
ANSWER_FIELDS = ("answers", "golden_answers", "answer")
SOURCE_FIELDS = ("source", "data_source")
_TEXT_FIELDS = ("text", "paragraph_text")
_GOLD_FIELDS = ("is_gold", "is_supporting")
_READ_FIELDS = {"id", "prompt", *QUESTION_FIELDS, *ANSWER_FIELDS, *SOURCE_FIELDS}


def load_questions_file(path: str | Path, *, source: str = "") -> list[Question]:
    """Read all questions of a file.

    A row must have `question` (or `text`) and `answers` (or `golden_answers`, `answer`), a string
    or a list of strings. It may have `id`, `source` (or `data_source`), `prompt` (a string, or a
    list of chat messages, whose contents are joined) and `paragraphs` (see `read_paragraphs`).
    Other strings, numbers and booleans become metadata.

    Args:
        path: JSONL or Parquet file, plain or gzipped.
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
    for location, row in rows:
        row_source = _first(row, SOURCE_FIELDS)[1]
        if row_source is not None and not isinstance(row_source, str):
            raise location.error("source", row_source, "a string, the name of the data set")
        row_source = row_source or source
        question = Question(
            id=_read_id(row.get("id"), location, row_source),
            text=_read_text(row, location),
            answers=_read_answers(row, location),
            source=row_source,
            prompt=_read_prompt(row.get("prompt"), location),
            paragraphs=read_paragraphs(row, location),
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
    field, value = _first(row, ANSWER_FIELDS)
    if field is None:
        raise location.error("answers", None, f"a list of strings in one of {list(ANSWER_FIELDS)}")
    answers = [value] if isinstance(value, str) else value
    if not isinstance(answers, list) or not answers:
        raise location.error(field, value, "a string or a non-empty list of strings")
    for number, answer in enumerate(answers):
        if not isinstance(answer, str) or not answer.strip():
            raise location.error(
                f"{field}[{number}]",
                answer,
                "a non-empty string; quote numbers and remove empty answers",
            )
    return tuple(answers)


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


def read_paragraphs(row: Mapping[str, Any], location: RowLocation) -> tuple[Paragraph, ...]:
    """Return the paragraphs of a row in order; () if it has none.

    Formats: a field `paragraphs` with objects `{title, text, is_gold}`, or as in MuSiQue `{title,
    paragraph_text, is_supporting}`; or the fields `context` and `supporting_facts` of HotpotQA and
    2WikiMultihopQA, in the row or in its `metadata`.
    """
    if row.get("paragraphs") is not None:
        items = row["paragraphs"]
        if not isinstance(items, list):
            raise location.error("paragraphs", items, "a list of {title, text, is_gold}")
        return tuple(_read_object(item, number, location) for number, item in enumerate(items))
    nested = row.get("metadata")
    for holder in (row, nested if isinstance(nested, Mapping) else {}):
        context, facts = holder.get("context"), holder.get("supporting_facts")
        if isinstance(context, Mapping) and isinstance(facts, Mapping):
            return _from_context(context, facts, location)
    return ()


def _read_object(item: Any, number: int, location: RowLocation) -> Paragraph:
    name = f"paragraphs[{number}]"
    if not isinstance(item, Mapping):
        raise location.error(name, item, "an object {title, text, is_gold}")
    title = item.get("title") or ""
    text = next((item[field] for field in _TEXT_FIELDS if field in item), None)
    is_gold = next((item[field] for field in _GOLD_FIELDS if field in item), None)
    if not isinstance(title, str):
        raise location.error(f"{name}.title", title, "a string, or no title")
    if not isinstance(text, str):
        raise location.error(f"{name}.text", text, "a string, the text of the paragraph")
    if not isinstance(is_gold, bool):
        raise location.error(f"{name}.is_gold", is_gold, "true if it supports the answer, or false")
    return Paragraph(title=title, text=text, is_gold=is_gold)


def _from_context(
    context: Mapping[str, Any], facts: Mapping[str, Any], location: RowLocation
) -> tuple[Paragraph, ...]:
    titles = context.get("title")
    bodies = context.get("sentences", context.get("content"))
    if not isinstance(titles, Sequence) or not isinstance(bodies, Sequence):
        raise location.error("context", context, "{title: [...], sentences: [[...], ...]}")
    if len(titles) != len(bodies):
        raise location.error("context", context, f"as many texts as titles ({len(titles)})")
    gold = set(facts.get("title") or ())
    return tuple(
        Paragraph(title=title, text=_joined(sentences), is_gold=title in gold)
        for title, sentences in zip(titles, bodies, strict=True)
    )


def _joined(sentences: str | Sequence[str]) -> str:
    parts = [sentences] if isinstance(sentences, str) else sentences
    return " ".join(part.strip() for part in parts)
