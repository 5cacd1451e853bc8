"""A chat server that takes 50 ± 30 ms and answers 64 requests at once; prints its port and serves.

GET /count says how many requests it has answered, and forgets them. It speaks just enough HTTP
itself, so that it is never what a measurement waits for.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from heapq import heapreplace
from typing import Any

LATENCY_S, SPREAD_S, AT_ONCE = 0.05, 0.03, 64
PAGE = "\n".join(f"Doc {n}: " + " ".join(f"word{n}{m}" for m in range(30)) for n in range(1, 6))
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def _response(body: Any) -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    return head.encode() + b"\r\n\r\n" + content


_CHOICE = {"message": {"role": "assistant", "content": PAGE}, "finish_reason": "stop"}
_USAGE = {"prompt_tokens": 60, "completion_tokens": 200}
_CHAT = _response({"id": "x", "choices": [_CHOICE], "usage": _USAGE})
_MODELS = _response({"data": [{"id": "stub"}]})


async def _serve() -> None:
    clock, answered = asyncio.get_running_loop().time, 0
    luck = random.Random(0)
    # When each place is free again. A timer that rings late delays an answer, not the next one.
    free_at = [0.0] * AT_ONCE

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                return
            if length := _LENGTH.search(head):
                await reader.readexactly(int(length[1]))
            if head.startswith(b"POST"):
                latency = luck.uniform(LATENCY_S - SPREAD_S, LATENCY_S + SPREAD_S)
                done_at = max(clock(), free_at[0]) + latency
                heapreplace(free_at, done_at)
                await asyncio.sleep(done_at - clock())
                answered += 1
                writer.write(_CHAT)
            elif b"/count " in head:
                writer.write(_response(answered))
                answered = 0
            else:
                writer.write(_MODELS)

    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
