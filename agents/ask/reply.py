"""The replies to questions: the answers with the documents that support them, and their file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from agents.storage.output_folder import atomic_path
from zs_env.metrics import contains_answer
from zs_env.questions.hidden_answers import is_yes_no
from zs_env.questions.question import Question
from zs_env.questions.rows import HALF_CHARACTERS
from zs_env.transcripts.transcript import Transcript

_BEGINNING = b'{"number": '  # of every line of a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A document that the agent saw.

    Attributes:
        search: number of the search that returned it, from 1.
        rank: its position in that page, from 1.
        title: "" without one.
        contains_answer: whether it contains the given answer.
    """

    search: int
    rank: int
    query: str
    title: str
    text: str
    engine: str
    contains_answer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The reply to one question.

    Attributes:
        id: of the question, or else its number.
        answer: None without one.
        reason: "answer", "turn_limit", or "failure".
        failure: the engine's error; None without one.
        sources: the distinct documents that contain the answer; all documents if none does, as
            with yes or no.
    """

    id: str
    question: str
    answer: str | None
    reason: str
    failure: str | None
    turns: int
    queries: tuple[str, ...]
    sources: tuple[Source, ...]

    @classmethod
    def of(cls, transcript: Transcript) -> Self:
        """Return the reply of a finished transcript."""
        answers = () if transcript.prediction is None else (transcript.prediction,)
        queries: list[str] = []
        shown: dict[tuple[str, str], Source] = {}
        for turn in transcript.turns:
            if turn.is_search and turn.request is not None:
                queries.append(turn.request.query)
            for one in turn.documents:
                source = Source(
                    search=len(queries),
                    rank=one.rank + 1,
                    query=queries[-1],
                    title=one.title,
                    text=one.text,
                    engine=one.engine,
                    contains_answer=not is_yes_no(answers)
                    and contains_answer(f"{one.title} {one.text}", answers),
                )
                shown.setdefault((one.title, one.text), source)
        sources = tuple(shown.values())
        return cls(
            id=transcript.question.id,
            question=transcript.question.text,
            answer=transcript.prediction,
            reason=transcript.reason or "unfinished",
            failure=transcript.failure,
            turns=len(transcript.turns),
            queries=tuple(queries),
            sources=tuple(one for one in sources if one.contains_answer) or sources,
        )


class ReplyFile:
    """Stores the replies to questions: one JSON line for each question, including failures.

    A line is written when its episode ends, so a killed process loses no finished reply. A later
    session plays the missing questions and those that a failure ended. The complete file is
    sorted by question.

    Args:
        path: created if missing.
        questions: all questions, in order.
        setting: digest of everything else that determines a reply; written in every line.
        fresh: drop the replies in the file first, of whatever questions and setting they are.

    Raises:
        ValueError: if the file contains other lines: of other questions or with another setting.
    """

    def __init__(
        self, path: Path, questions: Sequence[Question], setting: str, *, fresh: bool = False
    ) -> None:
        self.path = path
        self._questions, self._setting = questions, setting
        rows = self._load() if path.exists() else []
        if not fresh:
            self._check(rows)
        kept = [] if fresh else [row for row in rows if row["failure"] is None]
        self._rows = {row["number"]: row for row in kept}
        self.finish()

    def missing(self) -> list[int]:
        """Return the numbers, from 0, of the questions without a reply or with a failure."""
        return [number for number in range(len(self._questions)) if number not in self._rows]

    def add(self, number: int, reply: Reply) -> None:
        """Store the reply to the question of this number."""
        row = {"number": number, **asdict(reply), "setting": self._setting}
        self._rows[number] = row
        self._write("a", self.path, [row])

    def finish(self) -> list[Mapping[str, Any]]:
        """Sort the lines by question and return them."""
        rows = [row for _, row in sorted(self._rows.items())]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path) as temporary:
            self._write("w", temporary, rows)
        return rows

    def _write(self, mode: str, path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        with path.open(mode, encoding="utf-8", errors=HALF_CHARACTERS) as file:
            file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)

    def _load(self) -> list[Mapping[str, Any]]:
        """Read the lines; an incomplete last line is dropped."""
        content = self.path.read_bytes()
        whole, line_break, rest = content.rpartition(b"\n")
        if not rest.startswith(_BEGINNING[: len(rest)]):
            raise self._invalid_line(rest)
        rows: list[Mapping[str, Any]] = []
        for line in (whole + line_break).splitlines():
            try:
                row = json.loads(line)
                for name in ("number", "question", "setting", "failure"):
                    row[name]
            except (ValueError, TypeError, KeyError) as error:
                raise self._invalid_line(line) from error
            rows.append(row)
        return rows

    def _check(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            number, question = row["number"], row["question"]
            if row["setting"] != self._setting:
                raise ValueError(
                    f"{self.path} contains replies of another policy, engine or setting; choose "
                    "another --output, or start again with --fresh"
                )
            known = number in range(len(self._questions))
            if not known or self._questions[number].text != question:
                raise ValueError(
                    f"{self.path} contains a reply to {question!r}, which is not question {number} "
                    "of this file; choose another --output, or start again with --fresh"
                )

    def _invalid_line(self, line: bytes) -> ValueError:
        return ValueError(
            f"{self.path} contains a line that is not a reply ({line[:80]!r}); choose another "
            "--output"
        )
