"""The replies to a file of questions: one JSON line for each question, including failures.

A line is written when its episode ends, so a killed process loses no finished reply. A later
session plays the missing questions and those that an engine failure ended. The complete file is
sorted by question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.ask.reply import Reply
from zs_env.questions.question import Question
from zs_env.questions.rows import HALF_CHARACTERS

_BEGINNING = b'{"number": '  # of every line


class ReplyFile:
    """Stores the replies to questions.

    Args:
        path: created if missing.
        questions: all questions, in order.
        setting: digest of everything else that determines a reply; written in every line.

    Raises:
        ValueError: if the file contains replies to other questions or with another setting.
    """

    def __init__(self, path: Path, questions: Sequence[Question], setting: str) -> None:
        self.path = path
        self._questions, self._setting = questions, setting
        self._rows = self._load() if path.exists() else {}
        self._write_all()

    def missing(self) -> list[int]:
        """Return the numbers, from 0, of the questions without a reply or with a failure."""
        return [number for number in range(len(self._questions)) if number not in self._rows]

    def add(self, number: int, reply: Reply) -> None:
        """Store the reply to the question of this number."""
        row = {"number": number, **asdict(reply), "setting": self._setting}
        with self.path.open("a", encoding="utf-8", errors=HALF_CHARACTERS) as file:
            file.write(f"{json.dumps(row, ensure_ascii=False)}\n")
        self._rows[number] = row

    def finish(self) -> list[Mapping[str, Any]]:
        """Sort the lines by question and return them."""
        self._write_all()
        return [self._rows[number] for number in sorted(self._rows)]

    def _load(self) -> dict[int, Mapping[str, Any]]:
        """Read the replies without a failure; an incomplete last line is dropped."""
        content = self.path.read_bytes()
        rows = {}
        whole, rest = content[: content.rfind(b"\n") + 1], content[content.rfind(b"\n") + 1 :]
        if not rest.startswith(_BEGINNING[: len(rest)]):
            raise self._invalid_line(rest)
        for line in whole.splitlines():
            row = self._checked(line)
            if row["failure"] is None:
                rows[row["number"]] = row
        return rows

    def _checked(self, line: bytes) -> Mapping[str, Any]:
        try:
            row = json.loads(line)
            number, question, setting = row["number"], row["question"], row["setting"]
            row["failure"]
        except (ValueError, TypeError, KeyError) as error:
            raise self._invalid_line(line) from error
        if setting != self._setting:
            raise ValueError(
                f"{self.path} contains replies of another policy, engine or setting; choose "
                "another --output, or delete it"
            )
        if not (number in range(len(self._questions)) and self._questions[number].text == question):
            raise ValueError(
                f"{self.path} contains a reply to {question!r}, which is not question {number} of "
                "this file; choose another --output, or delete it"
            )
        return row

    def _invalid_line(self, line: bytes) -> ValueError:
        return ValueError(
            f"{self.path} contains a line that is not a reply ({line[:80]!r}); choose another "
            "--output"
        )

    def _write_all(self) -> None:
        temporary = self.path.with_name(f"{self.path.name}.tmp")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", errors=HALF_CHARACTERS) as file:
            for _, row in sorted(self._rows.items()):
                file.write(f"{json.dumps(row, ensure_ascii=False)}\n")
        temporary.replace(self.path)
