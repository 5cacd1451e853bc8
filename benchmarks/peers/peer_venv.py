"""A Python with a peer installed, each in an environment of its own outside the project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_INSTALL_TIMEOUT_S = 900
_RUN_TIMEOUT_S = 1800


def peer_python(name: str, requirements: Sequence[str]) -> Path | None:
    """Return the peer's Python, made on first use; None, with the reason on stderr, if it fails.

    Args:
        name: folder below `~/.cache/zerosearch-bench` (or `$XDG_CACHE_HOME/zerosearch-bench`).
        requirements: what pip installs, with versions.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    folder = cache / "zerosearch-bench" / name
    python, done = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(requirements)
    if done.exists() and done.read_text() == wanted:
        return python
    commands = (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", *requirements],
    )
    for command in commands:
        if _run(command, f"{name} cannot be installed", _INSTALL_TIMEOUT_S) is None:
            return None
    done.write_text(wanted)
    return python


def run_peer(python: Path | None, script: Path, *arguments: str) -> Any | None:
    """Run a script that prints one JSON value last; None, with the reason on stderr, if it fails.

    Args:
        python: as `peer_python` gave it; None gives None.
        script: what to run.
        arguments: of its command line.
    """
    if python is None:
        return None
    return run_json([str(python), str(script), *arguments])


def run_json(command: Sequence[str]) -> Any | None:
    """Run what prints one JSON value last; None, with the reason on stderr, if it fails."""
    output = _run(command, f"{' '.join(command)} failed", _RUN_TIMEOUT_S)
    return None if output is None else json.loads(output.strip().splitlines()[-1])


def _run(command: Sequence[str], failure: str, timeout_s: float) -> str | None:
    try:
        finished = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=True
        )
    except subprocess.CalledProcessError as error:
        print(f"{failure}: {error.stderr.strip()[-1000:]}", file=sys.stderr)
    except (subprocess.TimeoutExpired, OSError) as error:
        print(f"{failure}: {error}", file=sys.stderr)
    else:
        return finished.stdout
    return None
