"""A chat server that takes 50 ± 30 ms per request, 64 at a time; prints its port.

GET /count returns the number of requests answered since the last GET /count.
"""

from __future__ import annotations

import asyncio
import random
from heapq import heapreplace

from aiohttp import web

LATENCY_S, SPREAD_S, AT_ONCE = 0.05, 0.03, 64
PAGE = "\n".join(f"Doc {n}: " + " ".join(f"word{n}{m}" for m in range(30)) for n in range(1, 6))


async def _serve() -> None:
    clock, answered = asyncio.get_running_loop().time, 0
    rng = random.Random(0)
    # When each of the 64 slots is free again. A late timer does not delay the next request.
    free_at = [0.0] * AT_ONCE

    async def chat(request: web.Request) -> web.Response:
        nonlocal answered
        await request.read()
        latency = rng.uniform(LATENCY_S - SPREAD_S, LATENCY_S + SPREAD_S)
        done_at = max(clock(), free_at[0]) + latency
        heapreplace(free_at, done_at)
        await asyncio.sleep(done_at - clock())
        answered += 1
        choice = {"message": {"role": "assistant", "content": PAGE}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 60, "completion_tokens": 200}
        return web.json_response({"id": "x", "choices": [choice], "usage": usage})

    async def count(request: web.Request) -> web.Response:
        nonlocal answered
        count, answered = answered, 0
        return web.json_response(count)

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "stub"}]})

    application = web.Application()
    application.router.add_post("/v1/chat/completions", chat)
    application.router.add_get("/v1/models", models)
    application.router.add_get("/count", count)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
