"""Malformed HTTP requests get an error of the client: no 500, no hang, no growth of memory."""

import asyncio
import gzip
import json
import random
from contextlib import suppress
from pathlib import Path

import msgpack
import pytest

from tests.fuzz import num_cases
from zs_env.engines import ScriptedEngine
from zs_env.search.types import Document
from zs_env.server.app import SearchServer
from zs_env.server.run import bind, running
from zs_env.server.settings import ServerSettings

JSON = "Content-Type: application/json"
POST = f"POST /retrieve HTTP/1.1\r\nHost: x\r\n{JSON}\r\n"
PUT = f"PUT /noise HTTP/1.1\r\nHost: x\r\n{JSON}\r\n"
NUM_REQUESTS = num_cases(1_000, 10_000)
# 500 is a bug of the server; 504 would be an engine that hangs, and this one cannot.
ALLOWED = {200, 400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 417, 422, 429, 431, 501, 505}
VALUES = (
    *(None, True, -1, 0, 1.5, 2**70, 10**400, "", "a", "\ud800", [], {}, ["a"], ["a", 1]),
    *(["\udfff"], [["a"]], {"a": 1}, float("nan"), float("-inf"), "x" * 3000, [""] * 9000),
)
FIELDS = ("query", "queries", "topk", "question_id", "question_ids", "return_scores", "probability")
CONTENT_TYPES = (
    *("application/json", "application/json; charset=utf-8", "application/msgpack"),
    *("application/json; charset=zz", "application/json; charset=utf-16", "text/plain", ";;;"),
    *("application/json; charset=\x01", "application/json; charset=undefined", "multipart/form"),
)


def make_server(timeout_s: float) -> SearchServer:
    engine = ScriptedEngine(lambda _: [Document("text")], supports_noise=True)
    return SearchServer(
        engine, settings=ServerSettings(timeout_s=timeout_s, max_body=2**20, no_auth=True)
    )


def random_request(rng: random.Random) -> bytes:
    """Return the bytes of an HTTP request with at least one random part."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.randbytes(rng.randrange(200)) + b"\r\n\r\n"
    values = {rng.choice(FIELDS): rng.choice(VALUES) for _ in range(rng.randrange(4))}
    body = json.dumps(values).encode()
    if kind == 1:
        body = rng.randbytes(rng.randrange(300))
    elif kind == 2:
        body = rng.choice(
            [b"[" * 5000, b"{" + b'"a":[' * 3000, b'{"query": "\xff"}', b"\x81" * 5000]
        )
    elif kind == 3:
        body = msgpack.packb({"query": rng.choice(["a", b"\xff", 3, [1], None])})
    method = rng.choice(["POST", "POST", "POST", "PUT", "GET", "DELETE", "HEAD", "BREW", "\x00"])
    path = rng.choice(["/retrieve", "/retrieve", "/noise", "/metrics", "/", "/%ff", "*", "//"])
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines.append(f"Content-Type: {rng.choice(CONTENT_TYPES)}")
    framing = rng.randrange(7)
    if framing == 0:
        lines.append(f"Content-Length: {rng.choice(['-1', 'x', str(2**80), '', '+3'])}")
    elif framing == 1:
        lines.append("Transfer-Encoding: chunked")
        body = rng.choice([b"zz\r\n", b"-1\r\n\r\n", b"5\r\nab\r\n0\r\n\r\n", b"ffffffffff\r\nab"])
    elif framing == 2:
        lines.append(f"Content-Encoding: {rng.choice(['gzip', 'deflate', 'br', 'zz'])}")
        body = rng.choice([body, gzip.compress(b"{" + b" " * 2**22), gzip.compress(body)[:-4]])
        lines.append(f"Content-Length: {len(body)}")
    else:
        lines.append(f"Content-Length: {len(body)}")
    if rng.random() < 0.2:
        origins = ["null", "http://evil.example", "http://[", "http://127.0.0.1", "\xff"]
        lines.append(f"Origin: {rng.choice(origins)}")
    if rng.random() < 0.1:
        lines.append(
            rng.choice(["Expect: 100-continue", "Expect: x", "A\x00: b", "B: " + "b" * 9000])
        )
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def answer(port: int, sent: bytes) -> bytes:
    """Send bytes and return all that comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        await writer.drain()
        return await reader.read()
    except (ConnectionError, BrokenPipeError):
        return b""
    finally:
        writer.close()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """Return all that comes back; unlike `StreamReader.read`, also before a reset.

    A server that closes a connection with unread bytes resets it.
    """
    received = b""
    with suppress(ConnectionError):
        while chunk := await reader.read(2**16):
            received += chunk
    return received


async def statuses(port: int, requests: list[bytes]) -> list[int | None]:
    """Send requests, 32 at a time; None is a connection that was closed without an answer."""
    slots = asyncio.Semaphore(32)

    async def one(sent: bytes) -> bytes:
        async with slots, asyncio.timeout(20):
            return await answer(port, sent)

    received = await asyncio.gather(*map(one, requests))
    found = [one.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n") for one in received]
    return [int(one.split()[1]) if one.startswith(b"HTTP/1.") else None for one in found]


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def test_malformed_requests_are_errors_of_the_client():
    rng = random.Random(0)
    memory = []

    async def send_all() -> None:
        server = make_server(3.0)  # a busy machine may need a second for a valid request
        (bound,) = bind("127.0.0.1", 0, server.settings)
        port = bound.getsockname()[1]
        async with running(server, [bound]):
            for _ in range(4):
                batch = [random_request(rng) for _ in range(NUM_REQUESTS // 4)]
                for sent, status in zip(batch, await statuses(port, batch), strict=True):
                    assert status is None or status in ALLOWED, (status, sent[:400])
                memory.append(resident_mb())
            valid = f'{POST}Connection: close\r\nContent-Length: 14\r\n\r\n{{"query": "a"}}'
            assert await statuses(port, [valid.encode()]) == [200]

    asyncio.run(send_all())
    assert memory[-1] - memory[1] < 32, memory


@pytest.mark.parametrize(
    "sent",
    [
        f"{POST}Content-Length: 100\r\n\r\n{{",
        f"{POST}Transfer-Encoding: chunked\r\n\r\nff\r\n{{",
        f"{PUT}Content-Length: 100\r\n\r\n{{",
        "POST /retrieve HTTP/1.1\r\nHost: ",  # the header trickles
        "POST /",
    ],
)
def test_a_request_that_trickles_ends_after_the_timeout(sent):
    async def trickle() -> bytes:
        server = make_server(0.3)
        (bound,) = bind("127.0.0.1", 0, server.settings)
        async with running(server, [bound]):
            reader, writer = await asyncio.open_connection(*bound.getsockname())
            writer.write(sent.encode())

            async def drip() -> None:
                while True:
                    await asyncio.sleep(0.05)
                    writer.write(b"x")

            dripping = asyncio.create_task(drip())
            try:
                async with asyncio.timeout(60):  # the server's timeout is 0.3 s
                    return await until_closed(reader)
            finally:
                dripping.cancel()
                writer.close()

    received = asyncio.run(trickle())
    if "\r\n\r\n" in sent:
        assert b" 408 " in received and b"no complete body within 0.3 s" in received
    else:
        assert received == b""
