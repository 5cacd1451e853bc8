"""Compares one adapter with the plain Gymnasium environment; prints JSON.

python -m benchmarks.adapters.compare ADAPTER
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.adapters.episodes import (
    Play,
    Script,
    differences,
    exposed,
    gymnasium_player,
    make_scripts,
    stripped,
)
from benchmarks.adapters.players import ADAPTERS


def compare(name: str) -> dict[str, Any]:
    """Play every script with an adapter and without it.

    Returns:
        `version` of the framework, `episodes`, `equal` (episodes without a difference), `compared`
        (episodes by the name of a value that the adapter exposes), `different` (the same for those
        that differ), and the milliseconds per step `ms` and `gymnasium_ms`. Failed episodes are
        not part of the times.
    """
    adapter, scripts = ADAPTERS[name], make_scripts()
    if adapter.tools_prompt is not None:
        scripts = [script.with_tools(adapter.tools_prompt()) for script in scripts]
    compared, different, equal = Counter[str](), Counter[str](), 0
    with gymnasium_player(by_group_seed=adapter.by_group_seed) as reference, adapter.play() as play:
        num_steps = []
        for script in scripts:
            expected, played = reference(script), play(script)
            num_steps.append(0 if expected.failed else len(expected.messages or ()) - 1)
            if adapter.tokens is not None and not expected.failed:
                expected = adapter.tokens(script, expected)
            if adapter.tools_prompt is not None:
                expected = stripped(expected)
            compared.update(exposed(played))
            wrong = differences(played, expected)
            different.update(wrong)
            equal += not wrong
        sound = [script for script, steps in zip(scripts, num_steps, strict=True) if steps]
        ms, gymnasium_ms = (
            _seconds(one, sound) * 1e3 / sum(num_steps) for one in (play, reference)
        )
    return {
        "version": version(adapter.package),
        "episodes": len(scripts),
        "equal": equal,
        "compared": dict(compared),
        "different": dict(different),
        "ms": ms,
        "gymnasium_ms": gymnasium_ms,
    }


def _seconds(play: Play, scripts: Sequence[Script]) -> float:
    started = time.perf_counter()
    for script in scripts:
        play(script)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(compare(sys.argv[1])))
