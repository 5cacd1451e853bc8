"""An aiohttp application on a loopback port, for tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from aiohttp import web


class Loopback:
    """Serves an application in a thread until it is stopped.

    Args:
        application: the application.
        port: 0 selects a free port.
    """

    def __init__(self, application: web.Application, *, port: int = 0) -> None:
        self._application = application
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port: int = self._call(self._start(port))
        self.address = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Close the port immediately, also with open requests."""
        self._call(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call a function in the server's thread."""
        self._loop.call_soon_threadsafe(function)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self, port: int) -> int:
        self._runner = web.AppRunner(
            self._application, shutdown_timeout=0.01, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True).start()
        return self._runner.addresses[0][1]
