"""Speed of the environment, compared with the search environments of skyrl-gym and gem.

    python -m benchmarks.env_steps [--json]

The first run installs each peer in a virtual environment, in one or two minutes; a run takes about
one minute. "in process" replaces the peers' HTTP clients by answers from memory, which the peers do
not offer.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium

import envs_registry
from benchmarks.peers.peer_venv import peer_python, run_peer
from benchmarks.peers.workload import (
    ACTIONS,
    ANSWER,
    DOCUMENTS,
    LATENCY_S,
    NUM_ENVS,
    QUERIES,
    QUESTION,
    Step,
    steps_per_second,
)
from benchmarks.report import Row, run_benchmark
from zs_env import Document, Question, SearchEngine, SearchPage, SearchRequest, ZeroSearchVectorEnv
from zs_env.engines import CachedEngine

PEERS = {
    "skyrl-gym": (("skyrl-gym==0.4.0",), "skyrl_gym_search.py", "skyrl_gym"),
    "gem": (("gem-llm==0.1.0", "requests", "datasets"), "gem_search.py", "gem"),
}
ENV_ID = next(iter(envs_registry.PRESETS))
QUESTIONS = [Question(id="lovelace", text=QUESTION, answers=(ANSWER,))]
SCRIPT = {"kind": "scripted", "script": dict.fromkeys(QUERIES, DOCUMENTS)}
SEARCHES = 40
IMPORT_RUNS = 5


class SlowEngine(SearchEngine):
    """Takes 50 ms per call, for any number of requests; counts its pages."""

    thread_safe = True
    fingerprint = "slow"

    def __init__(self, latency_s: float = LATENCY_S) -> None:
        self.latency_s, self.pages = latency_s, 0
        self._page = SearchPage(tuple(map(Document, DOCUMENTS)))

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage]:
        """Return the same page for every request."""
        time.sleep(self.latency_s)
        self.pages += len(requests)
        return [self._page] * len(requests)


def steps_from_memory(questions: Any) -> float:
    """Return steps per second through `gymnasium.make`, with answers in memory."""
    env = gymnasium.make(ENV_ID, questions=questions, engine=SCRIPT)

    def start() -> Step:
        env.reset()
        return env.step

    return steps_per_second(start, episodes=1000)


def searches_on_a_slow_engine() -> float:
    """Return searches per second of a vector of 64 environments, from one thread."""
    env = ZeroSearchVectorEnv(NUM_ENVS, QUESTIONS, SlowEngine(), max_turns=1000)
    env.reset(seed=0)
    actions = (ACTIONS[0],) * NUM_ENVS
    before = time.perf_counter()
    for _ in range(SEARCHES):
        env.step(actions)
    seconds = time.perf_counter() - before
    env.close()
    return NUM_ENVS * SEARCHES / seconds


def engine_calls_of_equal_episodes() -> int:
    """Return the engine's pages in 5 equal episodes of two searches, with a cache."""
    engine = SlowEngine(0.0)
    env = gymnasium.make(ENV_ID, questions=QUESTIONS, engine=CachedEngine(engine))
    for seed in range(5):
        env.reset(seed=seed, options={"question_index": 0, "group_seed": 1})
        for action in ACTIONS:
            env.step(action)
    return engine.pages


def import_seconds(python: Path, module: str, *, beyond: str = "sys") -> float:
    """Return the CPU seconds of an import in a new interpreter, beyond those of another one."""
    bare, full = (
        min(_cpu_seconds(python, statement) for _ in range(IMPORT_RUNS))
        for statement in (f"import {beyond}", f"import {beyond}, {module}")
    )
    return max(full - bare, 0.0)


def measure() -> list[Row]:
    """Measure this package, then each peer."""
    own = Path(sys.executable)
    ours = {
        "memory": steps_from_memory(QUESTIONS),
        "slow": searches_on_a_slow_engine(),
        "calls": engine_calls_of_equal_episodes(),
        "import": import_seconds(own, "zs_env"),
    }
    fresh = steps_from_memory({"kind": "world"})
    beyond = import_seconds(own, "zs_env", beyond="gymnasium")
    rows = [
        Row(case="import beyond gymnasium", ours=beyond, peer=None, unit="CPU s"),
        Row(case="answers in memory, fresh questions", ours=fresh, peer=None, unit="steps/s"),
    ]
    for name, (requirements, script, module) in PEERS.items():
        python = peer_python(name, requirements)
        peer = run_peer(python, Path(__file__).with_name("peers") / script) or {}
        cases = (
            ("answers in memory, {} answered in process", "memory", "memory", "steps/s"),
            ("answers in memory, {} over HTTP on the loopback", "memory", "loopback", "steps/s"),
            ("64 environments, engine of 50 ms, {} in 64 threads", "slow", "slow", "steps/s"),
            ("engine calls of 5 identical episodes, {}", "calls", "calls", "calls"),
        )
        rows += [
            Row(case=case.format(name), ours=ours[mine], peer=peer.get(its), unit=unit)
            for case, mine, its, unit in cases
        ]
        imported = None if not peer or python is None else import_seconds(python, module)
        rows.append(Row(case=f"import, {name}", ours=ours["import"], peer=imported, unit="CPU s"))
    return rows


def _cpu_seconds(python: Path, statement: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(python), "-c", statement], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    run_benchmark(__doc__ or "", measure)
