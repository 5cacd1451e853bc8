"""A lock that allows one process at a time to write to a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock a folder, created if missing. The lock is released when the process is killed.

    Args:
        folder: to lock.
        wait: wait for another writer without a time limit.

    Raises:
        ValueError: if another process, or another call in this one, holds the lock and `wait` is
            False.
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
            pass  # the file system does not support locks
        yield
    finally:
        os.close(descriptor)
