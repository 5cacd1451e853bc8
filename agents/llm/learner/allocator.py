"""Keeps freed memory in the process, for training on a CPU.

By default glibc returns large freed blocks to the kernel, which clears every page when it is
allocated again. With a vocabulary of 49,000 this takes half of the time of a training step.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Make the C library keep freed memory; call it before the first large tensor.

    Returns:
        Whether the C library supports it; only glibc does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))
