"""The file of a batch: a JSON line for each question, whatever became of it.

Lines are written as questions end, so a kill loses none that has ended; a later session asks what
is missing and what a failure left without an answer. Once all are there they stand in the order of
the questions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.ask.reply import Reply
from zs_env.questions.question import Question
from zs_env.questions.rows import HALF_CHARACTERS

_BEGINNING = b'{"number": '  # of every line


class ReplyFile:
    """Keeps the replies to a batch of questions.

    Args:
        path: made where it is missing.
        questions: of the batch, in order.
        setting: digest of all else that decides a reply; it stands in every line.

    Raises:
        ValueError: if the file holds replies to other questions or of another setting.
    """

    def __init__(self, path: Path, questions: Sequence[Question], setting: str) -> None:
        self.path = path
        self._questions, self._setting = questions, setting
        self._rows = self._load() if path.exists() else {}
        self._write_all()

    def missing(self) -> list[int]:
        """Numbers, from 0, of the questions without a sound reply."""
        return [number for number in range(len(self._questions)) if number not in self._rows]

    def add(self, number: int, reply: Reply) -> None:
        """Keep the reply to the question of this number."""
        row = {"number": number, **reply.to_json(), "setting": self._setting}
        with self.path.open("a", encoding="utf-8", errors=HALF_CHARACTERS) as file:
            file.write(f"{json.dumps(row, ensure_ascii=False)}\n")
        self._rows[number] = row

    def finish(self) -> list[Mapping[str, Any]]:
        """Bring the lines into the order of the questions and return them."""
        self._write_all()
        return [self._rows[number] for number in sorted(self._rows)]

    def _load(self) -> dict[int, Mapping[str, Any]]:
        """Read the sound lines; a last one that a kill left torn is dropped."""
        content = self.path.read_bytes()
        rows = {}
        whole, torn = content[: content.rfind(b"\n") + 1], content[content.rfind(b"\n") + 1 :]
        if not torn.startswith(_BEGINNING[: len(torn)]):
            raise self._no_reply(torn)
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
            raise self._no_reply(line) from error
        if setting != self._setting:
            raise ValueError(
                f"{self.path} holds replies of another policy, engine or setting; name another "
                "--output, or delete it"
            )
        if not (number in range(len(self._questions)) and self._questions[number].text == question):
            raise ValueError(
                f"{self.path} holds a reply to {question!r}, which is not question {number} of "
                "this file; name another --output, or delete it"
            )
        return row

    def _no_reply(self, line: bytes) -> ValueError:
        return ValueError(
            f"{self.path} holds a line that is no reply ({line[:80]!r}); name another --output"
        )

    def _write_all(self) -> None:
        temporary = self.path.with_name(f"{self.path.name}.tmp")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", errors=HALF_CHARACTERS) as file:
            for _, row in sorted(self._rows.items()):
                file.write(f"{json.dumps(row, ensure_ascii=False)}\n")
        temporary.replace(self.path)
