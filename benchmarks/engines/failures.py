"""Plays episodes on engines that fail in 30 % of their calls, through every kind of wrapper.

    python -m benchmarks.engines.failures [--episodes 10000]

A call fails by raising, by hanging, by returning a wrong list or wrong pages, or for one request
only. For each stack of wrappers, every episode must end, equal requests must get equal pages, no
thread may be left, and the memory must not grow. The run takes about five minutes.
"""

from __future__ import annotations

import argparse
import gc
import random
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zs_env.engines import CachedEngine, HybridEngine, MeteredEngine, MixtureEngine
from zs_env.questions.question import Question
from zs_env.search.engine import SearchEngine
from zs_env.search.prices import PriceTable
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest
from zs_env.transcripts.transcript import Transcript
from zs_env.vector_env import ZeroSearchVectorEnv

FAILURE_RATE = 0.3
TIMEOUT_S = 0.1
_HANG_SHARE = 0.01  # of the failures; a hang takes much longer than any other call
_NUM_ENVS = 16
_GROUPS = 500  # different seeds, so that requests are repeated
QUESTIONS = [Question(id=str(n), text=f"Question {n}?", answers=(f"gold {n}",)) for n in range(50)]
_QUERIES = ("who", "when", "where")


class FlakyEngine(SearchEngine):
    """Returns another page at every call, and fails in 30 % of them.

    Args:
        seed: of the failures.
        cacheable: whether it has a fingerprint. Its pages then depend on the call, and otherwise
            only on the request.
        attributes: declared attributes.
    """

    name = "flaky"

    def __init__(self, seed: int, *, cacheable: bool, **attributes: Any) -> None:
        self.__dict__.update(attributes)
        self.fingerprint = f"flaky:{seed}" if cacheable else None
        self._rng = random.Random(seed)
        self._calls = 0
        self._lock = threading.Lock()

    def search(self, requests: Sequence[SearchRequest]) -> Any:
        """Return pages, or fail in one of seven ways."""
        with self._lock:
            self._calls += 1
            call = self._calls
            fails, hangs = self._rng.random() < FAILURE_RATE, self._rng.random() < _HANG_SHARE
            way = self._rng.randrange(6)
        pages: list[Any] = [self._page(request, call) for request in requests]
        if not fails:
            return pages
        if hangs:
            time.sleep(1.5 * TIMEOUT_S)
            return pages
        match way:
            case 0:
                raise SearchError("down")
            case 1:
                raise KeyError("a bug")
            case 2:
                return []
            case 3:
                return "nonsense"
            case 4:
                return [*pages[:-1], 7]
        return [*pages[:-1], SearchError("this one only")]

    def _page(self, request: SearchRequest, call: int) -> SearchPage:
        mark = str(call) if self.fingerprint else f"{request.seed} {request.useful}"
        if self.query_only:
            mark = "fixed"
        text = f"{request.query} {mark}"
        return SearchPage((Document(text), Document(f"second {text}")), SearchCost(calls=1))


def _flaky(seed: int, *, cacheable: bool = False, **attributes: Any) -> FlakyEngine:
    return FlakyEngine(seed, cacheable=cacheable, **{"supports_noise": True} | attributes)


def _ranking(seed: int) -> FlakyEngine:
    return FlakyEngine(seed, cacheable=True, query_only=True, thread_safe=True)


def _metered(engine: SearchEngine, folder: Path) -> MeteredEngine:
    path = folder / "ledger.jsonl"
    return MeteredEngine(engine, prices=PriceTable(call=1e-6), budget=1e6, path=path)


# Stacks by name; each gets an empty folder.
STACKS: Mapping[str, Callable[[Path], Any]] = {
    "engine": lambda folder: _flaky(0),
    "thread-safe engine": lambda folder: _flaky(1, thread_safe=True),
    "engine in process": lambda folder: _flaky(2, in_process=True),
    "cache": lambda folder: CachedEngine(_flaky(3, cacheable=True), max_pages=10**6),
    "cache with a file": lambda folder: CachedEngine(
        _flaky(4, cacheable=True, thread_safe=True), folder / "pages.sqlite"
    ),
    "meter with a budget": lambda folder: _metered(_flaky(5), folder),
    "mixture": lambda folder: MixtureEngine([_flaky(6), _flaky(7, thread_safe=True)]),
    "hybrid": lambda folder: HybridEngine([_ranking(8), CachedEngine(_ranking(9))]),
    "cache of a meter of a mixture": lambda folder: CachedEngine(
        MeteredEngine(MixtureEngine([_flaky(10, cacheable=True), _flaky(11, cacheable=True)]))
    ),
    "meter of a cache of a hybrid": lambda folder: MeteredEngine(
        CachedEngine(HybridEngine([_ranking(12), _ranking(13)]))
    ),
}


@dataclass(frozen=True, slots=True)
class PlayResult:
    """What happened in the episodes on one stack.

    Attributes:
        reasons: number of episodes by the reason of their end.
        requests: number of different requests with a page.
        unequal: number of requests that got different pages.
        threads: number of threads left.
        growth: bytes allocated in the second half of the episodes. Most requests of that half are
            repeated ones.
    """

    reasons: Counter[str]
    requests: int
    unequal: int
    threads: int
    growth: int


def play(stack: Callable[[Path], Any], episodes: int) -> PlayResult:
    """Play episodes on a stack, half of them with `step` and half with `send` and `recv`."""
    threads = set(threading.enumerate())
    reasons: Counter[str] = Counter()
    pages: dict[Any, tuple[str, ...]] = {}
    unequal: set[Any] = set()
    sizes: list[int] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        engine = stack(Path(folder))
        noise = 0.5 if engine.supports_noise else 0.0
        vector = ZeroSearchVectorEnv(
            _NUM_ENVS,
            QUESTIONS,
            engine,
            noise=noise,
            num_documents=2,
            max_turns=4,
            engine_timeout_s=TIMEOUT_S,
            autoreset_mode="Disabled",
            owns_engine=True,
        )
        rng = random.Random(0)
        for start in range(0, episodes, _NUM_ENVS):
            for transcript in _batch(vector, rng, start, with_send=start // _NUM_ENVS % 2 == 1):
                reasons[str(transcript.reason)] += 1
                for turn in transcript.turns:
                    if turn.documents:
                        key = _key(engine, turn.request)
                        texts = tuple(one.text for one in turn.documents)
                        if pages.setdefault(key, texts) != texts:
                            unequal.add(key)
            if start // _NUM_ENVS == episodes // _NUM_ENVS // 2:
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
        vector.close()
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    until = time.monotonic() + 30.0
    while set(threading.enumerate()) - threads and time.monotonic() < until:
        time.sleep(0.05)  # a hanging call ends its thread when it returns
    left = len(set(threading.enumerate()) - threads)
    return PlayResult(reasons, len(pages), len(unequal), left, sizes[-1] - sizes[0])


def _batch(
    vector: ZeroSearchVectorEnv, rng: random.Random, start: int, *, with_send: bool
) -> list[Transcript]:
    """Play one episode in each sub-environment."""
    groups = [(start + n) % _GROUPS for n in range(_NUM_ENVS)]
    options = {"question_index": [one % len(QUESTIONS) for one in groups], "group_seed": groups}
    vector.reset(seed=start, options=options)
    open_envs = set(range(_NUM_ENVS))
    while open_envs:
        answer = "<answer>gold</answer>"
        actions = {
            index: f"<search>{rng.choice(_QUERIES)}</search>" if rng.random() < 0.8 else answer
            for index in sorted(open_envs)
        }
        if with_send:
            vector.send(actions)
            received: set[int] = set()
            while len(received) < len(actions):
                for index, (*_, terminated, truncated, _info) in vector.recv().items():
                    received.add(index)
                    if terminated or truncated:
                        open_envs.discard(index)
            continue
        _, _, terminated, truncated, _ = vector.step(
            [actions.get(index, answer) for index in range(_NUM_ENVS)]
        )
        open_envs -= {n for n in range(_NUM_ENVS) if terminated[n] or truncated[n]}
    return [vector.transcript(index) for index in range(_NUM_ENVS)]


def _key(engine: Any, request: SearchRequest | None) -> Any:
    assert request is not None, "a turn with documents has a request"
    return request.query if engine.query_only else request


def main() -> None:
    """Play on every stack and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=10_000)
    arguments = parser.parse_args()
    tracemalloc.start()
    for name, stack in STACKS.items():
        began = time.monotonic()
        outcome = play(stack, arguments.episodes)
        print(
            f"{name}: {dict(sorted(outcome.reasons.items()))}, {outcome.requests} different "
            f"requests, {outcome.unequal} with different pages, {outcome.threads} threads left, "
            f"memory {outcome.growth / 2**20:+.1f} MiB, {time.monotonic() - began:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
