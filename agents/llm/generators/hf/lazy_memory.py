"""Zeros whose memory pages are allocated when they are first written."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor


def lazy_zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return zeros in the dtype and on the device of `like`; lazily allocated on a Unix CPU.

    Rows of a cache are padded to the longest one, so most of its pages are never written.
    """
    size = math.prod(shape) * like.element_size()
    if not like.is_cpu or not size or not hasattr(mmap, "MAP_PRIVATE"):
        return like.new_zeros(shape)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=like.dtype).view(*shape)
