"""The workload that every measured search environment runs.

An episode is two searches and an answer; the engine's answers are five documents of thirty words.
This file runs with a peer's Python as well as with ours, so it imports the standard library only.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

QUESTION, ANSWER = "Who wrote the first published program?", "Ada Lovelace"
QUERIES = ("first published program", "author of the first published program")
ACTIONS = (
    f"<think>I look it up first.</think><search>{QUERIES[0]}</search>",
    f"<think>I still miss the author.</think><search>{QUERIES[1]}</search>",
    f"<think>Now I know.</think><answer>{ANSWER}</answer>",
)
DOCUMENTS = [" ".join(f"word{rank}x{place}" for place in range(30)) for rank in range(5)]
LATENCY_S = 0.05
NUM_ENVS = 64

Step = Callable[[str], Any]


def steps_per_second(start: Callable[[], Step], *, episodes: int, runs: int = 15) -> float:
    """Best of several runs of episodes one after another; resets are not timed.

    Args:
        start: begins an episode and returns its `step`.
        episodes: episodes of a run.
        runs: runs, of which the best counts, because the machine may be busy with other things.
    """
    best = 0.0
    for _ in range(runs):
        seconds = 0.0
        for _ in range(episodes):
            step = start()
            before = time.perf_counter()
            for action in ACTIONS:
                step(action)
            seconds += time.perf_counter() - before
        best = max(best, episodes * len(ACTIONS) / seconds)
    return best


def threaded_searches_per_second(start: Callable[[], Step], *, searches: int) -> float:
    """Searches a second of `NUM_ENVS` environments, each in a thread of its own."""
    steps = [start() for _ in range(NUM_ENVS)]

    def play(step: Step) -> None:
        for _ in range(searches):
            step(ACTIONS[0])

    with ThreadPoolExecutor(NUM_ENVS) as pool:
        before = time.perf_counter()
        list(pool.map(play, steps))
        return NUM_ENVS * searches / (time.perf_counter() - before)


def play_identical(start: Callable[[], Step], *, episodes: int) -> None:
    """Play the same episode several times, one after another."""
    for _ in range(episodes):
        step = start()
        for action in ACTIONS:
            step(action)


class StubServer:
    """A server on the loopback that answers every POST with the same bytes, in its own process."""

    def __init__(self, body: bytes) -> None:
        parent, child = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=_serve, args=(body, child), daemon=True)
        self._process.start()
        self.url = f"http://127.0.0.1:{parent.recv()}/retrieve"

    def close(self) -> None:
        """Stop the server."""
        self._process.terminate()
        self._process.join()


def _serve(body: bytes, pipe: Any) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            head = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            self.wfile.write(head.encode() + body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(server.server_address[1])
    server.serve_forever()
