"""Runs the tests of a framework's contract in the environment where the framework is installed."""

import os
import subprocess
from pathlib import Path

from tests.paths import ROOT


def run_contract(environment: Path, file: str, *, timeout_s: float) -> str:
    """Run a test file with the Python of an environment; returns what pytest printed.

    Warnings are no errors there: the frameworks' own dependencies warn.
    """
    command = [environment / "bin" / "python", "-m", "pytest", "-p", "no:cacheprovider"]
    command += ["-o", "filterwarnings=default", file]
    finished = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-1000:]
    assert " passed" in finished.stdout
    return finished.stdout
