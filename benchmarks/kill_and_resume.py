"""Kills training runs at random times, resumes them, and compares the bits of the final weights.

One run is not interrupted. Each of the others gets SIGKILL once, at a random time within the
duration of the first run, including its start-up; a run that ends earlier is repeated with another
time. Flags after `--` are passed to `zerosearch train`.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import load_file
from torch import equal

from agents.llm.trainer.run_folder import CheckpointStore
from benchmarks.report import Row, print_rows

# Small, but with all parts of a full run.
_FLAGS = (
    *("--steps", "12", "--questions-per-step", "6", "--group-size", "6", "--checkpoint-every", "2"),
    *("--eval-every", "4", "--eval-episodes", "16", "--final-episodes", "32"),
)


def main() -> None:
    """Parse the command line, run everything, print one row per kill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the random times")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("flags", nargs="*", help="for zerosearch train, after --")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        rows = list(_measure(Path(folder), arguments.kills, arguments.seed, arguments.flags))
    print_rows(rows, as_json=arguments.json)
    sys.exit(any(row.ours != 1.0 for row in rows))


def _measure(folder: Path, kills: int, seed: int, flags: Sequence[str]) -> Iterator[Row]:
    started = time.monotonic()
    _wait(_start(folder / "uninterrupted", flags))
    whole = time.monotonic() - started
    rng = random.Random(seed)
    for number in range(kills):
        output, moment = folder / str(number), rng.uniform(0.0, whole)
        while not _killed(_start(output, flags), moment):
            shutil.rmtree(output)
            moment = rng.uniform(0.0, whole)
        steps = CheckpointStore(output / "checkpoints").steps()
        after = f"checkpoint {steps[-1]}" if steps else "no checkpoint"
        _wait(_start(output, [*flags, "--resume"]))
        same = _same_weights(output, folder / "uninterrupted")
        case = f"killed after {moment:.1f} s, {after}"
        yield Row(case=case, ours=float(same), peer=None, unit="1 = same bits")


def _start(output: Path, flags: Sequence[str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "agents.cli", "train", *_FLAGS, *flags]
    discard = subprocess.DEVNULL
    return subprocess.Popen([*command, "--output", str(output)], stdout=discard, stderr=discard)


def _killed(process: subprocess.Popen, moment: float) -> bool:
    """Kill a process after some seconds; return whether it was still running."""
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait() != 0
    _wait(process)
    return False


def _wait(process: subprocess.Popen) -> None:
    if process.wait() != 0:
        raise RuntimeError(f"a run ended with status {process.returncode}: {process.args}")


def _same_weights(one: Path, other: Path) -> bool:
    newest = [CheckpointStore(run / "checkpoints").latest() for run in (one, other)]
    first, second = (load_file(f"{folder}/model.safetensors") for folder in newest)
    return first.keys() == second.keys() and all(equal(first[n], second[n]) for n in first)


if __name__ == "__main__":
    main()
