"""Files of lines whose writer may be killed in the middle of one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def whole_lines(path: Path) -> list[bytes]:
    """Return the lines that end with a line break; none where there is no file."""
    if not path.exists():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def keep_lines(path: Path, lines: Sequence[bytes]) -> None:
    """Cut a file back to its first lines, which are given."""
    if path.exists():
        with open(path, "r+b") as file:
            file.truncate(sum(map(len, lines)))


def replace_lines(path: Path, lines: Mapping[int, bytes]) -> None:
    """Put lines in the place of those of the given numbers, from 0: all of them or none.

    Raises:
        OSError: if it cannot be written; the file is as it was then.
    """
    beside = path.with_name(f"{path.name}.tmp")
    try:
        with path.open("rb") as old, beside.open("wb") as new:
            for number, line in enumerate(old):
                new.write(lines.get(number, line))
            new.flush()
            os.fsync(new.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
