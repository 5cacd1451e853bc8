"""Whether a device computes faster in bfloat16 than in float32.

CPUs without bfloat16 instructions emulate them and are several times slower.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Literal

import torch

_SIZE = {"cpu": 768, "cuda": 4096}  # rows and columns of the measured matrix product
_REPEATS = 4
# A smaller gain is not worth the lost digits, and within the noise of the measurement.
_MIN_GAIN = 1.2


@cache
def bfloat16_is_faster(device: str) -> bool:
    """Time a matrix product on a type of device ("cpu" or "cuda"), once per process."""
    return _seconds(device, torch.float32) > _MIN_GAIN * _seconds(device, torch.bfloat16)


def bfloat16_autocast(device: str, enabled: bool | Literal["auto"]) -> torch.autocast:
    """Autocast to bfloat16 on a type of device; "auto" enables it if it is faster.

    Casts of weights are not kept during a forward pass: it uses each weight once, and FSDP frees
    the weights that they are made of after each layer.
    """
    if enabled == "auto":
        enabled = bfloat16_is_faster(device)
    return torch.autocast(device, torch.bfloat16, enabled=enabled, cache_enabled=False)


def _seconds(device: str, dtype: torch.dtype) -> float:
    """Shortest time of a product of two square matrices."""
    size = _SIZE.get(device, _SIZE["cpu"])
    matrix = torch.ones(size, size, dtype=dtype, device=device)
    times = []
    for _ in range(1 + _REPEATS):  # the first includes the setup of the kernel
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times)
