"""How many functions of `zs_env` one search enters, from `env.step` to the server of a simulator.

    python -m benchmarks.step_functions [--json]

The search misses the cache, so the step passes through cache, budget, simulator and a chat server
on the loopback. A function counts once, over all threads; a lambda or a comprehension counts as the
function around it. Modules are imported before the step, and nothing else has run.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from rich.console import Console
from rich.table import Table

import zs_env
from benchmarks.simulator_client import stub
from zs_env import Question, ZeroSearchEnv
from zs_env.config import build_engine

_PACKAGE = Path(zs_env.__file__).parent
_QUESTIONS = [Question(id="1", text="Who wrote it?", answers=("Ada",))]


def functions_of_a_search() -> set[tuple[str, str]]:
    """Return module and name of each function that a search enters."""
    entered: set[CodeType] = set()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            entered.add(frame.f_code)

    with stub() as address:
        simulator = {
            "kind": "simulator",
            "generator": {"kind": "server", "servers": f"{address}/v1", "model": "stub"},
        }
        prices = {"completion_tokens": 1.0}
        metered = {"kind": "metered", "engine": simulator, "prices": prices, "budget": 100.0}
        engine = build_engine({"kind": "cache", "engine": metered}, _QUESTIONS)
        env = ZeroSearchEnv(_QUESTIONS, engine)
        env.reset(seed=0)
        threading.setprofile(profile)
        sys.setprofile(profile)
        try:
            _, _, _, truncated, info = env.step("<search>who wrote it</search>")
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        assert not truncated and info["documents"], info
        env.close()
    named = {_named(code) for code in entered if _PACKAGE in Path(code.co_filename).parents}
    return {(module, name) for module, name in named if not name.startswith("<")}


def _named(code: CodeType) -> tuple[str, str]:
    path = Path(code.co_filename).relative_to(_PACKAGE.parent).with_suffix("")
    parts = code.co_qualname.split(".<locals>.")
    while len(parts) > 1 and parts[-1].startswith("<"):
        parts.pop()
    return ".".join(path.parts), ".".join(parts)


def main() -> None:
    """Print the functions by module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    functions = sorted(functions_of_a_search())
    if arguments.json:
        print(json.dumps({"functions": len(functions), "names": functions}))
        return
    table = Table("module", "functions", "names", title=f"{len(functions)} functions")
    for module, count in Counter(module for module, _ in functions).items():
        names = ", ".join(name for where, name in functions if where == module)
        table.add_row(module, str(count), names)
    Console().print(table)


if __name__ == "__main__":
    main()
