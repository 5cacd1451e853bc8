"""SIGTERM as an orderly end: training stops between updates and saves.

The signal interrupts a rollout or an evaluation at once, since both can be repeated, and waits for
an update or a checkpoint, since those must be whole.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """The process was asked to end. Not an `Exception`, so that nothing takes it for a fault."""


class StopSignal:
    """Turns SIGTERM into `Stopped` while used as a context; it does nothing in other threads."""

    def __init__(self) -> None:
        self._requested = False
        self._shielded = False

    def __enter__(self) -> StopSignal:
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        if self._in_main_thread:
            self._previous = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        if self._in_main_thread:
            signal.signal(signal.SIGTERM, self._previous)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Hold the signal back until the block is done, then stop.

        Raises:
            Stopped: at the end of the block, if the signal came before or during it.
        """
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        if self._requested:
            raise Stopped

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        first, self._requested = not self._requested, True
        # Once is enough: a second signal must not interrupt the saving that the first one began.
        if first and not self._shielded:
            raise Stopped
