"""The file in which searches are accounted for: JSON lines, one per page.

Several engines and processes may share one: each reads what the others have written.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from zs_env.search.client import Costs
from zs_env.search.types import SearchPage

_BEGINNING = b'{"calls": '  # of every line


class Ledger:
    """Reads what was written since the last look, and writes pages.

    Args:
        path: made with its folder when the first page is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0  # after the last whole line that was read
        self._lines = 0

    def read_on(self) -> list[Costs]:
        """Return the pages that were written since the last call, by whomever.

        Raises:
            ValueError: if a line is no page's account.
            OSError: if the file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size <= self._position:
                    return []
                file.seek(self._position)
                # A line without its end is still being written, or its writer was killed.
                whole, end, torn = file.read().rpartition(b"\n")
        except (FileNotFoundError, NotADirectoryError):
            return []
        if not torn.startswith(_BEGINNING[: len(torn)]):
            raise self._no_row(self._lines + whole.count(b"\n") + bool(end) + 1, torn)
        self._position += len(whole) + len(end)
        return list(self._parse(whole.splitlines()))

    def write(self, pages: Iterable[SearchPage]) -> None:
        """Add a line for each page.

        Raises:
            OSError: if the file cannot be written.
        """
        rows = [{**asdict(page.cost), "engine": page.engine} for page in pages]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _cut_torn_line(file)
            file.write("".join(f"{json.dumps(row)}\n" for row in rows).encode())

    def _parse(self, lines: Iterable[bytes]) -> Iterator[Costs]:
        for line in lines:
            self._lines += 1
            try:
                row = json.loads(line)
                yield Costs(
                    searches=1,
                    **{name: row[name] for name in ("calls", "prompt_tokens", "completion_tokens")},
                    seconds=row["seconds"],
                    cached=bool(row["cached"]),
                )
            except (ValueError, KeyError, TypeError) as error:
                raise self._no_row(self._lines, line) from error

    def _no_row(self, number: int, line: bytes) -> ValueError:
        return ValueError(
            f"{self.path}, line {number}: expected a ledger's row, got {line[:80]!r}; give the "
            "ledger another path"
        )


def _cut_torn_line(file: BinaryIO) -> None:
    """Cut off what a killed process left of its last line; lines are short."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(size - 4096, 0))
    tail = file.read()
    file.truncate(start + tail.rfind(b"\n") + 1 if b"\n" in tail else start)
