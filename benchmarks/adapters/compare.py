"""Compares one adapter with the plain Gymnasium environment; prints JSON.

python -m benchmarks.adapters.compare ADAPTER
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
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

PASSES, ENOUGH_S = 3, 10.0


def compare(name: str) -> dict[str, Any]:
    """Play every script with an adapter and without it.

    Returns:
        `version` of the framework, `episodes`, `equal` (episodes without a difference), `compared`
        (episodes by the name of a value that the adapter exposes), `different` (the same for those
        that differ), and the milliseconds per step `ms` and `gymnasium_ms`. Failed episodes are
        not part of the times.
    """
    adapter, scripts = ADAPTERS[name], make_scripts()
    has_tools = adapter.tools_prompt is not None
    if adapter.tools_prompt is not None:
        scripts = [script.with_tools(adapter.tools_prompt) for script in scripts]
    compared, different, equal = Counter[str](), Counter[str](), 0
    sound: list[Script] = []
    num_steps = 0
    with gymnasium_player(adapter.reset) as reference, adapter.play() as play:
        for script in scripts:
            expected = reference(script)
            steps = len(expected.messages or ()) - 1
            if has_tools:
                # A tool call after the end of an episode is no step of it.
                script = replace(script, texts=script.texts[:steps])
            if not expected.failed:
                sound.append(script)
                num_steps += steps
                if adapter.tokens is not None:
                    expected = adapter.tokens(script, expected)
            played = play(script)
            if has_tools:
                played, expected = stripped(played), stripped(expected)
            wrong = differences(played, expected)
            compared.update(exposed(played))
            different.update(wrong)
            equal += not wrong
        ms, gymnasium_ms = (_seconds(one, sound) * 1e3 / num_steps for one in (play, reference))
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
    """Return the time of the fastest of several passes; of one pass if it takes long."""
    passes: list[float] = []
    while len(passes) < PASSES and sum(passes) < ENOUGH_S:
        started = time.perf_counter()
        for script in scripts:
            play(script)
        passes.append(time.perf_counter() - started)
    return min(passes)


if __name__ == "__main__":
    print(json.dumps(compare(sys.argv[1])))
