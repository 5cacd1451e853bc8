"""Several servers that write for us: who gets the next request, and who is left alone for a while.

A server's circuit breaker opens after several failures in a row, and for longer each time: until it
is over the server gets nothing, then one request to prove itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

_MAX_COOLDOWN_S = 60.0


@dataclass(slots=True, eq=False)
class Server:
    """One server and how it has done.

    Attributes:
        url: its base, such as "http://127.0.0.1:8000/v1".
        model: the model to ask for; None until the server has said what it has.
        in_flight: requests it is working on.
        answered: requests it has answered.
        failures: how requests to it failed, by reason.
        opened: times that its breaker has opened.
        closed_until: when its breaker lets the next request through, on the loop's clock.
        failed_in_a_row: failures since it last answered.
        opened_in_a_row: the breaker's openings since it last answered.
    """

    url: str
    model: str | None = None
    in_flight: int = 0
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    closed_until: float = 0.0
    failed_in_a_row: int = 0
    opened_in_a_row: int = 0


class ServerPool:
    """Hands out the least busy server that works, first come, first served. Of one event loop.

    Args:
        servers: at least one.
        concurrency: requests that one server works on at a time.
        failures_to_open: failures in a row that open a breaker.
        cooldown_s: seconds that it first stays open; doubles up to a minute.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        concurrency: int,
        failures_to_open: int,
        cooldown_s: float,
    ) -> None:
        self.servers = list(servers)
        self._concurrency = concurrency
        self._failures_to_open = failures_to_open
        self._cooldown_s = cooldown_s
        self._waiting: deque[tuple[asyncio.Future[Server], Server | None]] = deque()

    async def acquire(self, *, avoid: Server | None, deadline: float) -> Server | None:
        """Wait for a server with room; None where there is none before the deadline.

        Args:
            avoid: a server that has just failed the request; taken if no other has room.
            deadline: on the loop's clock.
        """
        loop = asyncio.get_running_loop()
        handed: asyncio.Future[Server] = loop.create_future()
        self._waiting.append((handed, avoid))
        self._hand_out()
        if not handed.done():
            try:
                await asyncio.wait([handed], timeout=max(deadline - loop.time(), 0.0))
            except asyncio.CancelledError:
                if handed.done():
                    self._give_back(handed.result())
                handed.cancel()
                raise
        if handed.done():
            return handed.result()
        handed.cancel()
        return None

    def release(self, server: Server, failure: str | None, *, blame: bool = True) -> None:
        """Take a server back after a request.

        Args:
            server: as it was handed out.
            failure: why there is no answer; None where there is one.
            blame: whether that is the server's failure, and not the request's own.
        """
        loop = asyncio.get_running_loop()
        if failure is None:
            server.answered += 1
        else:
            server.failures[failure] += 1
        if failure is None or not blame:
            server.failed_in_a_row = server.opened_in_a_row = 0
        else:
            server.failed_in_a_row += 1
            # Requests that were under way when the breaker opened say nothing new.
            if self._is_broken(server) and loop.time() >= server.closed_until:
                cooldown = self._cooldown_s * 2 ** min(server.opened_in_a_row, 16)
                server.closed_until = loop.time() + min(cooldown, _MAX_COOLDOWN_S)
                server.opened += 1
                server.opened_in_a_row += 1
                loop.call_at(server.closed_until, self._hand_out)
        self._give_back(server)

    def _give_back(self, server: Server) -> None:
        server.in_flight -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        """Give servers with room to those who wait, in order."""
        while self._waiting:
            handed, avoid = self._waiting[0]
            if handed.done():
                self._waiting.popleft()
                continue
            server = self._pick(avoid)
            if server is None:
                return
            self._waiting.popleft()
            server.in_flight += 1
            handed.set_result(server)

    def _pick(self, avoid: Server | None) -> Server | None:
        free = [server for server in self.servers if server.in_flight < self._room(server)]
        if len(free) > 1 and avoid in free:
            free.remove(avoid)
        return min(free, key=lambda server: server.in_flight, default=None)

    def _room(self, server: Server) -> int:
        if not self._is_broken(server):
            return self._concurrency
        return int(asyncio.get_running_loop().time() >= server.closed_until)

    def _is_broken(self, server: Server) -> bool:
        return server.failed_in_a_row >= self._failures_to_open
