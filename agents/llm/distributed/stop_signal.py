"""SIGTERM as an orderly end: training stops between updates and saves.

The signal interrupts a rollout or an evaluation at once, since both can be repeated, and waits for
everything else, since an update and a checkpoint must be whole.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """The process was asked to end. Not an `Exception`, so that nothing takes it for a failure."""


class StopSignal:
    """Holds SIGTERM back while used as a context; it does nothing in other threads than the main.

    Where the context is left by one of the errors of `outlasting`, the signal stays without effect:
    who ends a run because one of its processes is lost must not end the others before they have
    said so.
    """

    def __init__(self, *, outlasting: type[Exception] | tuple[type[Exception], ...] = ()) -> None:
        self._outlasting = outlasting
        self._requested = False
        self._interruptible = False

    @property
    def requested(self) -> bool:
        """Whether the signal has come; any thread may ask."""
        return self._requested

    def __enter__(self) -> StopSignal:
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        if self._in_main_thread:
            self._previous = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if self._in_main_thread:
            lost = isinstance(error, self._outlasting)
            signal.signal(signal.SIGTERM, signal.SIG_IGN if lost else self._previous)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the signal end the block at once.

        Raises:
            Stopped: where the signal comes, or has come before.
        """
        self._interruptible = True
        try:
            if self._requested:
                raise Stopped
            yield
        finally:
            self._interruptible = False

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        first, self._requested = not self._requested, True
        # Once is enough: a second signal must not interrupt what the first one is making room for.
        if first and self._interruptible:
            raise Stopped
