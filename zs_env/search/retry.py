"""When a failed request to a server is repeated, and after which pause."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from zs_env.search.deadline import time_left_s

Result = TypeVar("Result")

# With these statuses a server says that it could answer later.
_TEMPORARY = frozenset({408, 409, 425, 429})
# How servers refuse a prompt, in contrast to the request as a whole.
_REFUSED_PROMPT = re.compile(
    r"context|too long|too many tokens|max\w*[ _-](model[ _-])?len|content.?(policy|filter)", re.I
)


class RequestFailed(Exception):
    """A request without a usable answer.

    Attributes:
        reason: a short reason, such as "timeout" or "status 500".
        final: whether repeating the request is useless.
    """

    def __init__(self, reason: str, detail: str = "", final: bool = False) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.final = reason, final

    @property
    def of_prompt(self) -> bool:
        """Whether the prompt, not the server, caused the failure."""
        if self.reason.startswith(("status 400", "status 422")):
            return _REFUSED_PROMPT.search(str(self)) is not None
        return self.reason.startswith(("status 413", "refused"))


def is_final(status: int) -> bool:
    """Whether repeating a request that was answered with this HTTP status is useless."""
    return 300 <= status < 500 and status not in _TEMPORARY


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    Attributes:
        max_tries: how often a request is sent.
        backoff_s: the longest pause is twice this before the second try, and doubles after it.
        max_backoff_s: upper bound of a pause.
    """

    max_tries: int = 3
    backoff_s: float = 0.2
    max_backoff_s: float = 5.0

    def __post_init__(self) -> None:
        if self.max_tries < 1:
            raise ValueError(f"max_tries must be at least 1, got {self.max_tries}")

    def pause_s(self, attempt: int) -> float:
        """Return a random pause before an attempt; 0 before attempt 0."""
        if attempt == 0:
            return 0.0
        return random.uniform(0.0, min(self.max_backoff_s, self.backoff_s * 2**attempt))

    def call(self, send: Callable[[], Result]) -> Result:
        """Send a request until it succeeds, or until the deadline of the engine call.

        Raises:
            RequestFailed: the last failure of `send`, if it is final or there are no tries left.
        """
        for attempt in range(self.max_tries):
            time.sleep(min(self.pause_s(attempt), time_left_s() / 2))
            try:
                return send()
            except RequestFailed as error:
                if error.final or attempt + 1 == self.max_tries or time_left_s() <= self.backoff_s:
                    raise
        raise AssertionError("max_tries is at least 1")
