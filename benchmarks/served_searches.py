"""Other frameworks' search environments, unchanged, in our simulator behind `serve-search`.

    python -m benchmarks.served_searches [--json]

Five identical episodes of two searches each, played by skyrl-gym and by gem, each in an environment
of its own. Counted are the calls that reach the model, which is a stub; a peer by itself makes ten.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server
from typing import Any

from benchmarks.env_steps import PEERS
from benchmarks.peers.peer_venv import peer_python, run_peer
from benchmarks.report import Row, run_benchmark
from benchmarks.simulator_client import answered, stub

_EPISODES, _SEARCHES = 5, 2
_SCRIPTS = {"skyrl-gym": "skyrl_gym_served.py", "gem": "gem_served.py"}


def _measure() -> list[Row]:
    rows = []
    for name, script in _SCRIPTS.items():
        python = peer_python(name, PEERS[name][0])
        with stub() as model, _serve_search(f"{model}/v1") as url:
            played = run_peer(python, Path(__file__).parent / "peers" / script, url, str(_EPISODES))
            calls = answered(model)
        case = f"model calls of {_EPISODES} identical episodes of {_SEARCHES} searches, {name}"
        if played is None:
            rows.append(Row(case=f"{case}: not played", ours=0.0, peer=None, unit="calls"))
            continue
        _check(played)
        peer = float(_EPISODES * _SEARCHES)
        rows.append(Row(case=case, ours=calls, peer=peer, unit="calls"))
    return rows


def _check(played: dict[str, Any]) -> None:
    """Every episode saw the pages that the stub wrote, and all saw the same."""
    first, *others = played["observations"]
    assert all("word" in observation for observation in first), first
    assert all(observations == first for observations in others)


@contextmanager
def _serve_search(model: str) -> Iterator[str]:
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    generator = {"kind": "server", "servers": model}
    spec = {"kind": "simulator", "prompts": "tuned", "retries": 0, "generator": generator}
    command = [sys.executable, "-m", "agents.cli", "serve-search", "--port", str(port)]
    with subprocess.Popen([*command, "--engine", json.dumps(spec)]) as process:
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
                    break
                except OSError:
                    assert process.poll() is None, "the server ended by itself"
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/retrieve"
        finally:
            process.terminate()


if __name__ == "__main__":
    run_benchmark(__doc__ or "", _measure)
