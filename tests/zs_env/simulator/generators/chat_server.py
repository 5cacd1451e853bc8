"""A scripted chat server on loopback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.zs_env.loopback import Loopback

Answer = Callable[[dict[str, Any]], Awaitable[web.StreamResponse]]


def chat(text: str, **usage: int) -> web.Response:
    """Return a valid answer."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    return web.json_response({"choices": [choice], "usage": usage})


class ChatServer(Loopback):
    """Records the bodies of all requests.

    Args:
        answer: returns the answer for the body of a request.
        models: names of its models.
        port: 0 selects a free port.
    """

    def __init__(self, answer: Answer, *, models: tuple[str, ...] = ("m",), port: int = 0) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._answer, self._models = answer, models
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_get("/v1/models", self._list)
        super().__init__(application, port=port)
        self.url = f"{self.address}/v1"

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        return await self._answer(body)

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": model} for model in self._models]})
