"""Deadlines of engine calls, and the threads that enforce them.

The environment sets one deadline for a call. Every engine inside it reads the rest of the time with
`time_left_s`. A call that misses its deadline is abandoned: its daemon thread ends when the call
does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any

from zs_env.search.types import SearchError

Function = Callable[[Sequence[Any]], Any]
# Each job is a call's id, function, argument and deadline; None ends the thread.
_Jobs = SimpleQueue["tuple[int, Function, Sequence[Any], Deadline] | None"]

TIMED_OUT: Any = object()  # returned for a call that missed its deadline
_POLL_S = 1.0  # how often a changed deadline is noticed
_MAX_HANGS = 3  # consecutive abandoned calls after which waiting calls fail


class Deadline:
    """The end of a call on the monotonic clock. The clock stops while the call waits for another.

    Args:
        timeout_s: seconds that the call may take.
    """

    __slots__ = ("end", "timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.end = time.monotonic() + timeout_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock inside the block."""
        left = self.end - time.monotonic()
        self.end = math.inf
        try:
            yield
        finally:
            self.end = time.monotonic() + left


_current: ContextVar[Deadline | None] = ContextVar("zs_env_deadline", default=None)


def current_deadline() -> Deadline | None:
    """The deadline of the running call; None if there is none."""
    return _current.get()


def time_left_s() -> float:
    """Seconds until the deadline of the running call, at least 0; infinite without a deadline."""
    deadline = _current.get()
    return math.inf if deadline is None else max(deadline.end - time.monotonic(), 0.0)


@contextmanager
def deadline_of(deadline: Deadline | float) -> Iterator[None]:
    """Set the deadline of the engine calls inside the block, in this thread.

    Args:
        deadline: the deadline, or the seconds until it.
    """
    token = _current.set(deadline if isinstance(deadline, Deadline) else Deadline(deadline))
    try:
        yield
    finally:
        _current.reset(token)


class OtherCall:
    """A running call for which calls in other threads wait."""

    __slots__ = ("deadline", "ended")

    def __init__(self) -> None:
        self.deadline, self.ended = current_deadline(), Event()

    def is_abandoned(self) -> bool:
        """Whether the call has missed its deadline."""
        return self.deadline is not None and time.monotonic() >= self.deadline.end

    def wait(self) -> bool:
        """Wait until the call ends; False if it is abandoned instead.

        The wait does not count as time of the waiting call. A call without a deadline counts as
        abandoned if the wait takes as long as the waiting call may take.
        """
        own = current_deadline()
        until = math.inf if own is None else time.monotonic() + own.timeout_s
        with nullcontext() if own is None else own.paused():
            while True:
                end = until if self.deadline is None else self.deadline.end
                left = end - time.monotonic()
                if self.ended.wait(max(min(left, _POLL_S), 0.0)):
                    return True
                if left <= 0.0:
                    return False


class CallLock:
    """A lock that a hanging call loses at its deadline, so that the next call can run.

    Copies and pickled copies are new locks.
    """

    def __init__(self) -> None:
        self._mutex = Lock()
        self._holder: OtherCall | None = None
        self._hangs = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            SearchError: if calls that hold the lock hang one after the other, or the deadline of
                this call has passed.
        """
        mine = OtherCall()
        self._acquire(mine)
        try:
            yield
        finally:
            with self._mutex:
                if self._holder is mine:
                    self._holder, self._hangs = None, 0
            mine.ended.set()

    def _acquire(self, mine: OtherCall) -> None:
        while True:
            if mine.is_abandoned():
                raise SearchError("the deadline has passed")
            with self._mutex:
                holder = self._holder
                if holder is None or holder.is_abandoned():
                    self._hangs += holder is not None
                    self._holder = mine
                    return
            if not holder.wait() and not holder.is_abandoned():
                raise SearchError("another call of the engine has no deadline and does not end")
            if self._hangs >= _MAX_HANGS:
                raise SearchError(f"the last {self._hangs} calls of the engine hang")

    def __reduce__(self) -> tuple[Any, ...]:
        return CallLock, ()


class PendingCalls:
    """Runs calls at the same time, each in a thread. Idle threads are reused.

    The threads hold no reference to it, and end when it is closed or collected.
    """

    def __init__(self) -> None:
        self._results: SimpleQueue[tuple[_Jobs, int, Any]] = SimpleQueue()
        self._idle: list[_Jobs] = []
        self._pending: dict[int, tuple[_Jobs, Deadline]] = {}  # by call id
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._pending)

    def submit(self, function: Function, inputs: Sequence[Any], *, timeout_s: float) -> int:
        """Start a call and return its id.

        Args:
            function: what is called with `inputs`; it must not raise.
            inputs: its argument: search requests, for example.
            timeout_s: seconds that the call may take.
        """
        if self._idle:
            jobs = self._idle.pop()
        else:
            jobs = SimpleQueue()
            # A daemon thread does not keep the process alive if the engine hangs.
            arguments = (jobs, self._results)
            Thread(target=_work, args=arguments, name="zs_env engine", daemon=True).start()
        self._last_id += 1
        deadline = Deadline(timeout_s)
        self._pending[self._last_id] = (jobs, deadline)
        jobs.put((self._last_id, function, inputs, deadline))
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
            late = [one for one, (_, due) in self._pending.items() if due.end <= now]
            # A result that is there is no timeout, however late it is asked for.
            for call_id in late if self._results.empty() else ():
                self._pending.pop(call_id)[0].put(None)
                ended[call_id] = TIMED_OUT
            next_deadline = min((due.end for _, due in self._pending.values()), default=now)
            wait_s = 0.0 if ended else max(min(until - now, next_deadline - now, _POLL_S), 0.0)
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

    def __del__(self) -> None:
        self.close()


def _work(jobs: _Jobs, results: SimpleQueue[tuple[_Jobs, int, Any]]) -> None:
    while (job := jobs.get()) is not None:
        call_id, function, inputs, deadline = job
        with deadline_of(deadline):
            result = function(inputs)
        results.put((jobs, call_id, result))
        # An idle thread keeps nothing alive.
        del job, function, inputs, deadline, result
