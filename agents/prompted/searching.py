"""Settings of the methods with several searches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Settings shared by the methods with several searches.

    Attributes:
        max_searches: number of searches after which the answer is requested. It must be below the
            environment's `max_turns`, or the episode ends without an answer.
        max_chars: maximum length of the retrieved text in a prompt.

    Raises:
        ValueError: if a setting is not a whole number of at least 1.
    """

    max_searches: int = 5
    max_chars: int = 12000

    def __post_init__(self) -> None:
        for name in ("max_searches", "max_chars"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
