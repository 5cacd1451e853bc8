"""Runs as child processes, some side by side, none of which outlives its end in good order."""

from __future__ import annotations

import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Job = TypeVar("Job")
_POLL_S = 0.2
_END_S = 60.0


def run_side_by_side(
    jobs: Iterable[Job],
    start: Callable[[Job], subprocess.Popen[bytes]],
    *,
    workers: int,
    tries: int,
) -> Iterator[tuple[Job, int]]:
    """Yield each job with the exit status of its last try, as they end.

    Whoever leaves this early ends the processes that still run: by SIGTERM, which they may answer
    with a checkpoint, and after a minute by force.

    Args:
        jobs: what to do, in this order.
        start: begins one.
        workers: jobs at the same time, at least 1.
        tries: how often a job is begun that fails.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    waiting = deque((job, 1) for job in jobs)
    running: list[tuple[Job, int, subprocess.Popen[bytes]]] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job, number = waiting.popleft()
                running.append((job, number, start(job)))
            time.sleep(_POLL_S)
            ended = [entry for entry in running if entry[2].poll() is not None]
            for entry in ended:
                running.remove(entry)
                job, number, process = entry
                if process.returncode and number < tries:
                    waiting.appendleft((job, number + 1))
                else:
                    yield job, process.returncode
    finally:
        _end([process for _, _, process in running])


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    processes = list(processes)
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _END_S
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
