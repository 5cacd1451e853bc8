"""A chat server on loopback that does what a test tells it, well or badly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Answer = Callable[[dict[str, Any]], Awaitable[web.StreamResponse]]


def chat(text: str, **usage: int) -> web.Response:
    """A good answer."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    return web.json_response({"choices": [choice], "usage": usage})


class ChatServer:
    """Serves until it is stopped, and keeps every request's body.

    Args:
        answer: from the body of a request to its answer.
        models: what it says that it has.
        port: 0 takes a free one.
    """

    def __init__(self, answer: Answer, *, models: tuple[str, ...] = ("m",), port: int = 0) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._answer, self._models = answer, models
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port: int = self._call(self._start(port))
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def stop(self) -> None:
        """Close the port at once, whatever is under way."""
        self._call(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> ChatServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self, port: int) -> int:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_get("/v1/models", self._list)
        self._runner = web.AppRunner(application, shutdown_timeout=0.01, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        return self._runner.addresses[0][1]

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        return await self._answer(body)

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": model} for model in self._models]})
