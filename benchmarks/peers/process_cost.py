"""What a process has used so far; the same for every trainer, with the standard library only."""

from __future__ import annotations

import re
import time
from pathlib import Path


class Laps:
    """CPU and wall seconds of pieces of work that follow each other.

    Attributes:
        cpu_s: of each lap, summed over threads.
        wall_s: of each lap.
    """

    def __init__(self) -> None:
        self.cpu_s: list[float] = []
        self.wall_s: list[float] = []
        self.begin()

    def begin(self) -> None:
        """Begin a lap; what happened since the last one's end is not counted."""
        self._began = (time.process_time(), time.perf_counter())

    def end(self) -> None:
        """End a lap and begin the next."""
        cpu, wall = self._began
        self.begin()
        self.cpu_s.append(self._began[0] - cpu)
        self.wall_s.append(self._began[1] - wall)


def peak_bytes() -> int:
    """The most memory that this process ever held at a time; Linux only.

    ru_maxrss would not do: a child starts with its parent's.
    """
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None, status
    return int(found[1]) * 1024
