"""Pages per second of a simulator on a server, compared with the original's client.

    python -m benchmarks.simulator_client [--json]

The server is a stub in its own process: 50 ± 30 ms per request, 64 concurrent requests, so at most
1,280 requests per second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.peer_venv import peer_python, run_peer
from benchmarks.report import Row, run_benchmark
from benchmarks.workers.chat_stub import AT_ONCE, LATENCY_S
from zs_env.engines import CachedEngine
from zs_env.search.types import SearchPage, SearchRequest
from zs_env.simulator import LanguageModelEngine
from zs_env.simulator.generators.server import ServerLimits, ServerTextGenerator

_PEERS = Path(__file__).parent / "peers"
_BOUND = AT_ONCE / LATENCY_S
_REQUESTS, _PEER_REQUESTS, _REPEATED = 8192, 512, 512


def _measure() -> list[Row]:
    peer = peer_python("openai", ["openai==3.54.0"])
    with stub() as address:
        url = f"{address}/v1"
        ours = _pages_per_second(url)
        theirs = run_peer(peer, _PEERS / "openai_threads.py", url, str(_PEER_REQUESTS))
        answered(address)
        cached = CachedEngine(_engine(url))
        _search(cached, _requests(_REPEATED, distinct=_REPEATED * 3 // 4))
        cached.close()
        sent = answered(address)
    per_second = None if theirs is None else theirs["per_second"]
    return [
        Row(case="pages of a server", ours=ours, peer=per_second, unit="1/s"),
        Row(case="pages of a server, the bound", ours=ours, peer=_BOUND, unit="1/s"),
        Row(case="512 requests, 25 % repeated: sent", ours=sent, peer=512.0, unit="requests"),
    ]


def _engine(url: str) -> LanguageModelEngine:
    # More than the server processes at once, so that it is never idle.
    limits = ServerLimits(concurrency=AT_ONCE * 3 // 2)
    return LanguageModelEngine(ServerTextGenerator(url, limits=limits), "tuned", retries=0)


def _pages_per_second(url: str) -> float:
    engine = _engine(url)
    _search(engine, _requests(AT_ONCE, distinct=AT_ONCE))  # connections
    asked = _requests(_REQUESTS, distinct=_REQUESTS)
    started = time.perf_counter()
    _search(engine, asked)
    seconds = time.perf_counter() - started
    engine.close()
    return _REQUESTS / seconds


def _requests(count: int, *, distinct: int) -> list[SearchRequest]:
    return [
        SearchRequest(
            f"query {n % distinct}",
            f"Question {n % distinct}?",
            ("Ada",),
            (True,) * 5,
            n % distinct,
        )
        for n in range(count)
    ]


def _search(engine: CachedEngine | LanguageModelEngine, requests: Sequence[SearchRequest]) -> None:
    pages = engine.search(requests)
    assert all(isinstance(page, SearchPage) and len(page.documents) == 5 for page in pages)


def answered(address: str) -> float:
    """Return the number of requests that the stub has answered since the last call."""
    with urllib.request.urlopen(f"{address}/count") as answer:
        return float(json.load(answer))


@contextmanager
def stub() -> Iterator[str]:
    """Run `chat_stub` in its own process; yields its address."""
    command = [sys.executable, "-m", "benchmarks.workers.chat_stub"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


if __name__ == "__main__":
    run_benchmark(__doc__ or "", _measure)
