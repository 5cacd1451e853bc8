"""Validation of the settings of methods with several searches."""

from __future__ import annotations


def check_settings(*, max_searches: int, max_chars: int) -> None:
    """Check the settings.

    Raises:
        ValueError: if a setting is not a whole number of at least 1.
    """
    for name, value in (("max_searches", max_searches), ("max_chars", max_chars)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
