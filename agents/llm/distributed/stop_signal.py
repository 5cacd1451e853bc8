"""Graceful shutdown on SIGTERM: training saves a checkpoint and stops.

The signal interrupts rollouts and evaluations, which can be repeated. Updates and checkpoints are
finished first.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """SIGTERM was received. Not an `Exception`, so that error handlers do not catch it."""


class StopSignal:
    """Defers SIGTERM while used as a context, in the main thread only.

    Args:
        outlasting: errors after which SIGTERM stays ignored. If one process of a run is lost, the
            launcher terminates the others; they must report the loss first.

    Attributes:
        requested: whether the signal was received; may be read from any thread.
    """

    def __init__(self, *, outlasting: type[Exception] | tuple[type[Exception], ...] = ()) -> None:
        self._outlasting = outlasting
        self.requested = False
        self._interruptible = False

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
        """Raise `Stopped` in the block as soon as the signal is received, or if it was before."""
        self._interruptible = True
        try:
            if self.requested:
                raise Stopped
            yield
        finally:
            self._interruptible = False

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        first, self.requested = not self.requested, True
        # A second signal must not interrupt the shutdown.
        if first and self._interruptible:
            raise Stopped
