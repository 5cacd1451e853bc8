"""Distributes requests over servers, with a circuit breaker for each server.

A breaker opens after several consecutive failures, and for longer each time. While it is open, the
server gets no requests. After that, the server gets one request as a test.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

_MAX_COOLDOWN_S = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Limits of requests to servers.

    Attributes:
        concurrency: maximum number of concurrent requests per server.
        connect_timeout_s: maximum time to open a connection.
        read_timeout_s: maximum time until a request is answered; None for 30 s.
        deadline_s: maximum time per prompt, including all retries and waiting; None for 55 s. In an
            environment, all requests end before its deadline, which these two must not exceed.
        max_tries: maximum number of requests per prompt.
        failures_to_open: consecutive failures that open a server's circuit breaker. No requests are
            sent to the server while it is open.
        cooldown_s: how long the breaker first stays open; doubles each time, up to a minute.
    """

    concurrency: int = 64
    connect_timeout_s: float = 5.0
    read_timeout_s: float | None = None
    deadline_s: float | None = None
    max_tries: int = 8
    failures_to_open: int = 5
    cooldown_s: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")

    @property
    def longest_s(self) -> float | None:
        """The longest time that was set; None if none was."""
        given = [one for one in (self.read_timeout_s, self.deadline_s) if one is not None]
        return max(given, default=None)


@dataclass(slots=True, eq=False)
class Server:
    """A server and its statistics.

    Attributes:
        url: base URL, such as "http://127.0.0.1:8000/v1".
        model: name of the model; None until the server has listed its models.
        in_flight: number of open requests.
        answered: number of answered requests.
        failures: number of failed requests by reason.
        breaker_openings: how often the breaker has opened.
        open_until: when the breaker lets the next request through, on the loop's clock.
        consecutive_failures: failures since the last answer.
        consecutive_openings: openings of the breaker since the last answer.
    """

    url: str
    model: str | None = None
    in_flight: int = 0
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    breaker_openings: int = 0
    open_until: float = 0.0
    consecutive_failures: int = 0
    consecutive_openings: int = 0


class ServerPool:
    """Assigns each request to the working server with the fewest open requests, in FIFO order.

    A pool belongs to one event loop.

    Args:
        urls: base URLs of at least one server.
        model: name of the model; None for the only model of a server.
        limits: concurrency and circuit breaker.
    """

    def __init__(self, urls: Sequence[str], model: str | None, limits: ServerLimits) -> None:
        self.servers = [Server(url, model) for url in urls]
        self._limits = limits
        self._waiting: deque[tuple[asyncio.Future[Server], Server | None]] = deque()

    async def acquire(self, *, avoid: Server | None, deadline: float) -> Server | None:
        """Wait for a free server; returns None if there is none before the deadline.

        Args:
            avoid: a server on which the request has just failed; used only if no other is free.
            deadline: on the loop's clock.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Server] = loop.create_future()
        self._waiting.append((future, avoid))
        self._assign()
        if not future.done():
            try:
                await asyncio.wait([future], timeout=max(deadline - loop.time(), 0.0))
            except asyncio.CancelledError:
                if future.done():
                    future.result().in_flight -= 1
                    self._assign()
                future.cancel()
                raise
        if future.done():
            return future.result()
        future.cancel()
        return None

    def release(self, server: Server, failure: str | None, *, blame: bool = True) -> None:
        """Return a server after a request.

        Args:
            server: from `acquire`.
            failure: reason of a failure; None for an answer.
            blame: whether the server, not the request, caused the failure.
        """
        loop = asyncio.get_running_loop()
        if failure is None:
            server.answered += 1
        else:
            server.failures[failure] += 1
        if failure is None or not blame:
            server.consecutive_failures = server.consecutive_openings = 0
        else:
            server.consecutive_failures += 1
            # Failures of requests sent before the breaker opened do not extend its cooldown.
            broken = server.consecutive_failures >= self._limits.failures_to_open
            if broken and loop.time() >= server.open_until:
                cooldown = self._limits.cooldown_s * 2 ** min(server.consecutive_openings, 16)
                server.open_until = loop.time() + min(cooldown, _MAX_COOLDOWN_S)
                _log.warning(
                    "%s fails (%s); the next request is sent in %.0f s, and requests are repeated "
                    "until their deadline",
                    server.url,
                    failure,
                    min(cooldown, _MAX_COOLDOWN_S),
                )
                server.breaker_openings += 1
                server.consecutive_openings += 1
                loop.call_at(server.open_until, self._assign)
        server.in_flight -= 1
        self._assign()

    def _assign(self) -> None:
        """Assign free servers to waiting requests, in order."""
        while self._waiting:
            future, avoid = self._waiting[0]
            if future.done():
                self._waiting.popleft()
                continue
            now = asyncio.get_running_loop().time()
            # A server whose breaker is open gets one request as a test after the cooldown.
            free = [
                one
                for one in self.servers
                if one.in_flight < self._limits.concurrency
                and (
                    one.consecutive_failures < self._limits.failures_to_open
                    or (not one.in_flight and now >= one.open_until)
                )
            ]
            if not free:
                return
            if len(free) > 1 and avoid in free:
                free.remove(avoid)
            server = min(free, key=lambda server: server.in_flight)
            self._waiting.popleft()
            server.in_flight += 1
            future.set_result(server)
