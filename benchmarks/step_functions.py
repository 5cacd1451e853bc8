"""How many functions of `zs_env` one search enters, from `env.step` to the server of a simulator.

    python -m benchmarks.step_functions [--json]

The search misses the cache, so the step passes through cache, budget, simulator and a chat server
on the loopback. A function counts once, over all threads; a lambda or a comprehension counts as the
function that it stands in. Everything is imported and has run once before the step is measured.
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
from zs_env.config.builder import build_engine

import zs_env
from benchmarks.simulator_client import stub
from zs_env import Question, ZeroSearchEnv

_PACKAGE = Path(zs_env.__file__).parent
_QUESTIONS = [Question(id="1", text="Who wrote it?", answers=("Ada",))]


def functions_of_a_search(folder: Path | None = None) -> set[tuple[str, str]]:
    """Return module and name of each function that a search enters.

    Args:
        folder: where the budget's ledger and the cache's file are written; None writes neither.
    """
    entered: set[CodeType] = set()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            entered.add(frame.f_code)

    with stub() as address:
        for _ in range(2):
            env = ZeroSearchEnv(
                _QUESTIONS, build_engine(_spec(f"{address}/v1", folder), _QUESTIONS)
            )
            env.reset(seed=0)
            entered.clear()
            threading.setprofile(profile)
            sys.setprofile(profile)
            try:
                _, _, _, truncated, info = env.step("<search>who wrote it</search>")
            finally:
                sys.setprofile(None)
                threading.setprofile(None)
            assert not truncated and info["documents"], info
            env.close()
    return {_named(code) for code in entered if _PACKAGE in Path(code.co_filename).parents}


def _spec(url: str, folder: Path | None) -> dict[str, Any]:
    simulator = {"kind": "simulator", "writer": {"kind": "server", "servers": url}}
    prices = {"completion_tokens": 1.0}
    metered = {"kind": "metered", "engine": simulator, "prices": prices, "budget": 100.0}
    return {"kind": "cache", "engine": metered}


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
