"""Locks between processes: by fcntl, or by the package filelock on systems without it (Windows)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


@contextmanager
def exclusive_lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Lock a file, created if missing, or a folder. A killed process releases its locks.

    Args:
        path: the file or folder; its parent exists. Without fcntl, a file ending in .lock beside
            the file or in the folder is locked in its place.
        wait: wait for another holder without a time limit.

    Raises:
        BlockingIOError: if another process, or another call in this one, holds the lock and `wait`
            is False.
        OSError: if the file system does not support locks, or both fcntl and filelock are missing.
    """
    if fcntl is None:
        with _file_lock(path, wait=wait):
            yield
        return
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _file_lock(path: Path, *, wait: bool) -> Iterator[None]:
    try:
        from filelock import FileLock, Timeout
    except ImportError:
        raise OSError(
            f"{path} cannot be locked on this system without the package filelock; "
            "pip install filelock"
        ) from None
    held = path / ".lock" if path.is_dir() else path.with_name(f"{path.name}.lock")
    try:
        lock = FileLock(held)
        lock.acquire(blocking=wait)
    except Timeout as error:
        raise BlockingIOError(str(error)) from error
    try:
        yield
    finally:
        lock.release()
