"""Runs a search server until the process gets SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from zs_env.search.proxy import is_loopback
from zs_env.server.app import SearchServer
from zs_env.server.schemas import TOKEN_VARIABLE
from zs_env.server.settings import ServerSettings


def bind(host: str, port: int, settings: ServerSettings) -> list[socket.socket]:
    """Return a bound socket for each address of a host; they do not listen yet.

    Args:
        host: a name or an IP address.
        port: 0 selects a free port.
        settings: a token, or `no_auth`, allows addresses that other machines reach.

    Raises:
        ValueError: if the addresses need a token and there is none.
        OSError: if the host is unknown or the port is in use.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = list(dict.fromkeys((family, address[:2]) for family, *_, address in found))
    open_to_others = not all(is_loopback(str(address[0])) for _, address in addresses)
    if open_to_others and settings.token is None and not settings.no_auth:
        raise ValueError(
            f"other machines can reach {host}; set the environment variable {TOKEN_VARIABLE} to a "
            "token that clients have to send, or pass --no-auth"
        )
    sockets: list[socket.socket] = []
    try:
        for family, (name, number) in addresses:
            bound = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind((name, number or sockets[0].getsockname()[1]))
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise OSError(f"cannot bind {host}, port {port}: {error}; choose another --port") from error
    return sockets


def serve(server: SearchServer, sockets: Sequence[socket.socket], ready: Callable[[], Any]) -> None:
    """Serve until SIGINT or SIGTERM, then let open requests complete.

    Args:
        server: the server.
        sockets: bound sockets.
        ready: called when all sockets listen.

    Raises:
        OSError: if another process listens on the port.
    """
    asyncio.run(_serve(server, sockets, ready))


async def _serve(
    server: SearchServer, sockets: Sequence[socket.socket], ready: Callable[[], Any]
) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(server, sockets):
        ready()
        await stop.wait()


@asynccontextmanager
async def running(server: SearchServer, sockets: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Serve on bound sockets in the running event loop."""
    runner = web.AppRunner(
        server.application(),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=server.settings.shutdown_s,
    )
    await runner.setup()
    closer = asyncio.create_task(_close_silent_connections(runner, server))
    try:
        for bound in sockets:
            await web.SockSite(runner, bound).start()
        yield
    finally:
        closer.cancel()
        await runner.cleanup()


async def _close_silent_connections(runner: web.AppRunner, server: SearchServer) -> None:
    """Close connections that send no complete header within the timeout.

    aiohttp has a timeout for connections between two requests, but none before the first one.
    """
    timeout_s = server.settings.timeout_s
    since: dict[Any, float] = {}
    while True:
        await asyncio.sleep(min(timeout_s / 2, 1.0))
        now = time.monotonic()
        connections = runner.server.connections if runner.server else []
        since = {one: since.get(one, now) for one in connections if one not in server.busy}
        for connection, start in since.items():
            if now - start > timeout_s:
                connection.force_close()
