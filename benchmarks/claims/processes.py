"""Runs jobs as parallel child processes and ends them with this process."""

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
    """Yield each job with the exit status of its last try, when it ends.

    If the caller stops early, running processes get SIGTERM, so that they can write a checkpoint,
    and are killed after a minute.

    Args:
        jobs: in the order in which they start.
        start: starts the process of a job.
        workers: number of parallel jobs, at least 1.
        tries: number of tries for a job that fails.
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
