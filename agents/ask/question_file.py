"""Reads the questions of a user from a file: JSON lines, a table, or one question a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zs_env.questions.question import Question
from zs_env.questions.rows import RowLocation, read_rows

_ROWS_BEGIN = (b"{", b"[", b"\x1f\x8b", b"PAR1")  # JSON, gzip, Parquet


def read_asked_questions(path: Path) -> list[Question]:
    """Read the questions of a file in order; blank lines are skipped.

    Args:
        path: UTF-8 text (.txt, or any other content) with a question on each line; or JSONL or
            Parquet, plain or gzipped, with a field `question` (or `text`) and an optional `id`.
            Answers are ignored.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there is no question, or a line is invalid; the message names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; pass one with a question on each line")
    with path.open("rb") as file:
        head = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    is_text = path.suffix == ".txt" or not head.startswith(_ROWS_BEGIN)
    rows = _text_rows(path) if is_text else read_rows(path)
    questions = [_question(place, row) for place, row in rows]
    if not questions:
        raise ValueError(f"{path} contains no question; write one on each line")
    return questions


def asked_question(text: str) -> Question:
    """Return the question of a text.

    Raises:
        ValueError: if it is blank.
    """
    return _question(RowLocation("the command line", 1, "argument"), {"question": text})


def _text_rows(path: Path) -> Iterator[tuple[RowLocation, Mapping[str, Any]]]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        place = RowLocation(str(path), number)
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{place}: not UTF-8 ({error.reason}); save it as UTF-8") from error
        if text.strip():
            yield place, {"question": text}


def _question(place: RowLocation, row: Mapping[str, Any]) -> Question:
    field = "text" if row.get("question") is None and row.get("text") is not None else "question"
    text, own_id = row.get(field), row.get("id")
    if not isinstance(text, str) or not text.strip():
        raise place.error(field, text, "a question that is not blank")
    return Question(
        id=str(place.number) if own_id is None else str(own_id), text=text.strip(), answers=()
    )
