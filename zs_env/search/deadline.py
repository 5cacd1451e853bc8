"""Engine calls in threads, each with its own deadline.

A call that misses its deadline is abandoned: its daemon thread ends when the call does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from zs_env.search.types import SearchRequest

Search = Callable[[Sequence[SearchRequest]], Any]
_Jobs = SimpleQueue["tuple[int, Sequence[SearchRequest]] | None"]  # None ends the thread

TIMED_OUT: Any = object()  # returned for a call that missed its deadline


class PendingCalls:
    """Runs calls of one function at the same time, each in a thread. Idle threads are reused.

    Args:
        search: the function; it must not raise.
        timeout_s: seconds that a call may take.
    """

    def __init__(self, search: Search, *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._search = search
        self._results: SimpleQueue[tuple[_Jobs, int, Any]] = SimpleQueue()
        self._idle: list[_Jobs] = []
        self._pending: dict[int, tuple[_Jobs, float]] = {}  # thread and deadline by call id
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._pending)

    def submit(self, requests: Sequence[SearchRequest]) -> int:
        """Start a call and return its id."""
        if self._idle:
            jobs = self._idle.pop()
        else:
            jobs = SimpleQueue()
            # A daemon thread does not keep the process alive if the engine hangs.
            Thread(target=self._work, args=(jobs,), name="zs_env engine", daemon=True).start()
        self._last_id += 1
        self._pending[self._last_id] = (jobs, time.monotonic() + self.timeout_s)
        jobs.put((self._last_id, requests))
        return self._last_id

    def has_result(self) -> bool:
        """Whether a call has ended, so that `wait` returns at once."""
        return not self._results.empty()

    def wait(self, timeout_s: float | None = None) -> dict[int, Any]:
        """Wait until a call ends and return the results of all calls that have ended, by call id.

        Args:
            timeout_s: longest wait; None waits until the next deadline.

        Returns:
            The results, TIMED_OUT for calls that missed their deadline. Empty if no call is
            pending or none ended in time.
        """
        until = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        ended: dict[int, Any] = {}
        while self._pending or not self._results.empty():
            now = time.monotonic()
            for call_id in [one for one, (_, end) in self._pending.items() if end <= now]:
                self._pending.pop(call_id)[0].put(None)
                ended[call_id] = TIMED_OUT
            next_deadline = min((end for _, end in self._pending.values()), default=now)
            wait_s = 0.0 if ended else max(min(until, next_deadline) - now, 0.0)
            try:
                jobs, call_id, result = self._results.get(timeout=wait_s)
            except Empty:
                if ended or time.monotonic() >= until:
                    break
                continue
            # The thread of an abandoned call has no entry here any more.
            if self._pending.pop(call_id, None) is not None:
                ended[call_id] = result
                self._idle.append(jobs)
        return ended

    def close(self) -> None:
        """End every thread as soon as its call ends. Pending calls are abandoned."""
        for jobs in [*self._idle, *(jobs for jobs, _ in self._pending.values())]:
            jobs.put(None)
        self._idle.clear()
        self._pending.clear()

    def _work(self, jobs: _Jobs) -> None:
        while (job := jobs.get()) is not None:
            call_id, requests = job
            self._results.put((jobs, call_id, self._search(requests)))
