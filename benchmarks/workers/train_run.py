"""Runs `zerosearch train` once for a benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def ended_run(folder: Path, flags: Sequence[str]) -> dict[str, Any]:
    """Return the `result.json` of a run, which is started or resumed if it is incomplete.

    Args:
        folder: of the run.
        flags: for `zerosearch train`.

    Raises:
        subprocess.CalledProcessError: if training fails.
    """
    result = folder / "result.json"
    if not result.exists():
        command = [sys.executable, "-m", "agents.cli", "train", "--output", str(folder), "--resume"]
        subprocess.run([*command, *flags], check=True, stdout=sys.stderr)
    return json.loads(result.read_text(encoding="utf-8"))
