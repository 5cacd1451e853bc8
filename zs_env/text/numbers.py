"""Numbers from users: of Python, NumPy or pandas, or as text."""

from __future__ import annotations

import operator
from math import isfinite
from typing import Any


def as_float(name: str, value: Any) -> float:
    """Return a finite number as a float.

    Args:
        name: what the number is, for the error.
        value: a number of any type, or an array without dimensions.

    Raises:
        ValueError: if it is a bool, a string, not a number, or not finite.
    """
    try:
        if isinstance(value, bool | str | bytes) or getattr(value, "shape", ()):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not isfinite(number):
        raise ValueError(f"{name} must be a finite number, got {_shown(value)}")
    return number


def as_int(name: str, value: Any, *, low: int | None = None) -> int:
    """Return a whole number as an int.

    Args:
        name: what the number is, for the error.
        value: a whole number of any type; 3.0 is one, as in a pandas column with missing values.
        low: smallest allowed value.

    Raises:
        ValueError: if it is not a whole number, or below `low`.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number_f = as_float(name, value)
        number = int(number_f)
        if number != number_f:
            raise ValueError(f"{name} must be a whole number, got {_shown(value)}") from None
    if low is not None and number < low:
        raise ValueError(f"{name} must be at least {low}, got {number}")
    return number


def as_probability(name: str, value: Any) -> float:
    """Return a number in [0, 1] as a float; ValueError for any other value."""
    number = as_float(name, value)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name} must be in [0, 1], got {_shown(value)}")
    return number


def _shown(value: object) -> str:
    shown = str(value) if isinstance(value, int | float) else repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
