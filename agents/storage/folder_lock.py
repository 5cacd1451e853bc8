"""One process writes to a folder at a time; a second one is told so, or waits."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder, made where it is missing, against other writers; a kill lets go of it.

    Args:
        folder: that is written to.
        wait: for another writer to end, however long that takes.

    Raises:
        ValueError: if another process, or another call in this one, holds it and `wait` is off.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise ValueError(
                f"another process writes to {folder}; wait for it, or choose another --output"
            ) from error
        except OSError:
            pass  # a file system that knows no locks
        yield
    finally:
        os.close(descriptor)
