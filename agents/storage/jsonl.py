"""JSON Lines files whose last line may be incomplete, since their writer may be killed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from agents.storage.output_folder import atomic_path


def whole_lines(path: Path) -> list[bytes]:
    """Return the lines that end with a line break; none if the file is missing."""
    if not path.exists():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def truncate_lines(path: Path, count: int) -> None:
    """Remove everything after the first `count` lines of a file, if it exists."""
    if path.exists():
        with open(path, "r+b") as file:
            file.truncate(sum(map(len, whole_lines(path)[:count])))


def replace_lines(path: Path, lines: Mapping[int, bytes]) -> None:
    """Replace the lines of the given numbers, from 0, atomically.

    Raises:
        OSError: if the file cannot be written; it is unchanged then.
    """
    with atomic_path(path) as temporary, path.open("rb") as old, temporary.open("wb") as new:
        for number, line in enumerate(old):
            new.write(lines.get(number, line))
        new.flush()
        os.fsync(new.fileno())
