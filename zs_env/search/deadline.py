"""Engine calls that run beside each other, each with a deadline of its own.

A call that comes to no end is left behind in its daemon thread, and the next one gets another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from zs_env.search.types import SearchRequest

Search = Callable[[Sequence[SearchRequest]], Any]

TIMED_OUT: Any = object()  # in the place of an answer that did not come in time


class PendingCalls:
    """Calls of one function in as many threads as there are calls at a time.

    Args:
        search: what is called, in a thread; it does not raise.
        timeout_s: seconds a call may take.
    """

    def __init__(self, search: Search, *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._search = search
        self._answers: SimpleQueue[tuple[_Worker, int, Any]] = SimpleQueue()
        self._idle: list[_Worker] = []
        self._open: dict[int, tuple[_Worker, float]] = {}  # worker and deadline by ticket
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, requests: Sequence[SearchRequest]) -> int:
        """Begin a call and return its ticket."""
        worker = self._idle.pop() if self._idle else _Worker(self._search, self._answers)
        self._tickets += 1
        self._open[self._tickets] = (worker, time.monotonic() + self.timeout_s)
        worker.jobs.put((self._tickets, requests))
        return self._tickets

    def has_answer(self) -> bool:
        """Whether `wait` would return at once because a call has ended."""
        return not self._answers.empty()

    def wait(self, timeout_s: float | None = None) -> dict[int, Any]:
        """Wait until a call ends, and return by ticket what those that have ended returned.

        Args:
            timeout_s: longest wait; None waits as long as a call may take.

        Returns:
            TIMED_OUT in the place of an answer that did not come in time. Nothing at all where no call
            is open, or none ended within the wait.
        """
        until = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        ended: dict[int, Any] = {}
        while self._open and not ended:
            wait = min(until, min(deadline for _, deadline in self._open.values()))
            self._take(max(wait - time.monotonic(), 0.0), ended)
            self._expire(ended)
            if time.monotonic() >= until:
                break
        while not self._answers.empty():
            self._take(0.0, ended)
        return ended

    def close(self) -> None:
        """Let every thread end as soon as its call does; open calls are forgotten."""
        for worker in [*self._idle, *(worker for worker, _ in self._open.values())]:
            worker.jobs.put(None)
        self._idle.clear()
        self._open.clear()

    def _take(self, wait_s: float, ended: dict[int, Any]) -> None:
        try:
            worker, ticket, answer = self._answers.get(timeout=wait_s)
        except Empty:
            return
        # Whoever answers after its deadline has been told to end.
        if self._open.pop(ticket, None) is not None:
            ended[ticket] = answer
            self._idle.append(worker)

    def _expire(self, ended: dict[int, Any]) -> None:
        now = time.monotonic()
        late = [ticket for ticket, (_, deadline) in self._open.items() if deadline <= now]
        for ticket in late:
            worker, _ = self._open.pop(ticket)
            worker.jobs.put(None)
            ended[ticket] = TIMED_OUT


class _Worker:
    """A daemon thread that makes one call at a time."""

    def __init__(self, search: Search, answers: SimpleQueue[tuple[_Worker, int, Any]]) -> None:
        self.jobs: SimpleQueue[tuple[int, Sequence[SearchRequest]] | None] = SimpleQueue()
        # A daemon, so that a hanging engine does not keep the process from ending.
        Thread(target=self._run, args=(search, answers), name="zs_env engine", daemon=True).start()

    def _run(self, search: Search, answers: SimpleQueue[tuple[_Worker, int, Any]]) -> None:
        while (job := self.jobs.get()) is not None:
            ticket, requests = job
            answers.put((self, ticket, search(requests)))
