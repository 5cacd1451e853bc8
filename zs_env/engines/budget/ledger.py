"""A file with the cost of every page: JSON lines, one per page.

Several engines and processes may share a ledger: each reads the lines of the others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from zs_env.search.types import SearchCost, SearchError, SearchPage
from zs_env.text.locks import exclusive_lock

_FIELDS = ("calls", "prompt_tokens", "completion_tokens", "seconds", "cached")
_LINE_START = b'{"calls": '


class Ledger:
    """Writes the costs of pages, and reads the lines that are new.

    Args:
        path: the file; it and its folder are created when the first page is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0  # after the last whole line that was read
        self._lines = 0

    def read_new(self) -> list[SearchCost]:
        """Return the costs of pages that were written, by any process, since the last call."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size <= self._position:
                    return []
                file.seek(self._position)
                # A line without an end is still being written, or the process was killed.
                whole, end, torn = file.read().rpartition(b"\n")
        except (FileNotFoundError, NotADirectoryError):
            return []
        if not torn.startswith(_LINE_START[: len(torn)]):
            raise self._wrong_line(self._lines + whole.count(b"\n") + bool(end) + 1, torn)
        self._position += len(whole) + len(end)
        return list(self._parse(whole.splitlines()))

    def write(self, pages: Iterable[SearchPage]) -> None:
        """Add a line for each page."""
        rows = [
            {name: getattr(page.cost, name) for name in _FIELDS}
            | {"cached": bool(page.cost.cached), "engine": page.engine}
            for page in pages
        ]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with exclusive_lock(self.path), self.path.open("a+b") as file:
                _cut_torn_line(file)
                file.write("".join(f"{json.dumps(row)}\n" for row in rows).encode())
        except OSError as error:
            raise SearchError(f"the ledger {self.path} cannot be written: {error}") from error

    def _parse(self, lines: Iterable[bytes]) -> Iterator[SearchCost]:
        for line in lines:
            self._lines += 1
            try:
                row = json.loads(line)
                yield SearchCost(**{name: row[name] for name in _FIELDS})
            except (ValueError, KeyError, TypeError) as error:
                raise self._wrong_line(self._lines, line) from error

    def _wrong_line(self, number: int, line: bytes) -> ValueError:
        return ValueError(
            f"{self.path}, line {number}: expected a line of a ledger, got {line[:80]!r}; choose "
            "another path for the ledger"
        )


def _cut_torn_line(file: BinaryIO) -> None:
    """Remove the incomplete last line of a killed process; lines are short."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(size - 4096, 0))
    tail = file.read()
    file.truncate(start + tail.rfind(b"\n") + 1 if b"\n" in tail else start)
