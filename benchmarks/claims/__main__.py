"""`python -m benchmarks.claims`: runs every arm with every seed, and tests the paper's claims.

Finished runs are read from the results, and interrupted ones continue: the same command runs what
is missing. All arms of one seed run before the next seed, so a table of few seeds is complete.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from agents.cli.training.train import parse_arguments
from agents.llm.trainer.config import TrainConfig
from agents.storage.output_folder import folder_lock
from benchmarks.claims.arms import ARMS, arms_for
from benchmarks.claims.processes import run_side_by_side
from benchmarks.claims.report import draw, markdown, settings_of, to_json
from benchmarks.claims.results import ResultsFile, RunResult, budget_of
from benchmarks.claims.run import ROW
from zs_env.text.suggestions import unknown_name

_TRIES = 3
WORLD = Path(__file__).with_name("world.toml")


@dataclass(frozen=True, kw_only=True)
class ClaimsConfig:
    """Replicate the paper's claims. Flags after -- are passed to every training run.

    Attributes:
        output: folder of the runs.
        results: JSONL file of finished runs; rows are added to it, and table.md and curves.png are
            written to its folder. OUTPUT/results.jsonl by default.
        config: TOML file with the settings of all arms.
        only: names of arms; all that suit the questions by default.
        seeds: number of runs of each arm, with seeds from 0.
        steps: of each run; replaces the number in the TOML file.
        workers: parallel runs; each uses the threads of the settings.
        json: print everything as one JSON object to standard output.
    """

    output: Path = Path("runs/claims")
    results: Path | None = None
    config: Path = WORLD
    only: tuple[str, ...] = ()
    seeds: int = 5
    steps: int | None = None
    workers: int = 2
    json: bool = False
    train_flags: tyro.conf.Suppress[tuple[str, ...]] = field(default=())

    def flags(self) -> list[str]:
        """Return the flags of `zerosearch train` for all arms."""
        steps = [] if self.steps is None else ["--steps", str(self.steps)]
        return ["--config", str(self.config), *steps, *self.train_flags]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing and print the tables; returns 1 if a run failed in every try."""
    given = list(sys.argv[1:] if argv is None else argv)
    cut = given.index("--") if "--" in given else len(given)
    config = tyro.cli(
        ClaimsConfig,
        args=given[:cut],
        default=ClaimsConfig(train_flags=tuple(given[cut + 1 :])),
        prog="python -m benchmarks.claims",
    )
    base = parse_arguments(config.flags())
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    results = ResultsFile(config.results or config.output / "results.jsonl", budget_of(base))
    with folder_lock(config.output / "lock"), _exit_on_sigterm():
        failed = _run_missing(config, base, results, console)
    rows = results.rows()
    if rows:
        folder = results.path.parent
        command = shlex.join(["python", "-m", "benchmarks.claims", *given])
        (folder / "table.md").write_text(markdown(rows, command=command), encoding="utf-8")
        draw(rows, folder / "curves.png")
        console.print(f"table and curves: {folder / 'table.md'}, {folder / 'curves.png'}")
    if config.json:
        print(json.dumps(to_json(rows)), flush=True)
    elif rows:
        print(markdown(rows, command=command))
    return 1 if failed else 0


def _run_missing(
    config: ClaimsConfig, base: TrainConfig, results: ResultsFile, console: Console
) -> list[str]:
    """Run what has no result and add its results; returns the folders of runs that failed."""
    names = list(config.only) or arms_for(base)
    for name in names:
        if name not in ARMS:
            raise unknown_name("arm", name, ARMS)
        ARMS[name].change(base)  # raises early if a setting is unsuitable
    jobs = [(name, seed) for seed in range(config.seeds) for name in names]
    missing = [job for job in jobs if job not in results]
    console.print(f"{len(jobs) - len(missing)} of {len(jobs)} runs are finished")
    failed: list[str] = []
    started = time.monotonic()
    ended = run_side_by_side(
        missing, lambda job: _start(config, base, *job), workers=config.workers, tries=_TRIES
    )
    for done, ((name, seed), status) in enumerate(ended, start=1):
        folder = _folder(config, name, seed)
        left = (time.monotonic() - started) / done * (len(missing) - done)
        if status:
            failed.append(str(folder))
            outcome = f"failed with status {status}, see {folder / 'log.txt'}"
        else:
            row = RunResult.from_json(json.loads((folder / ROW).read_text(encoding="utf-8")))
            results.add(row)
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # 27 MB each
            setting = settings_of([row])[0]
            outcome = f"F1 {row.f1_Q(setting).mean():.3f}, {setting}; {row.seconds:.0f} s"
        console.print(f"{name}, seed {seed}: {outcome}; about {left / 3600:.1f} h left")
    return failed


def _folder(config: ClaimsConfig, name: str, seed: int) -> Path:
    return config.output / name / f"seed-{seed}"


def _start(
    config: ClaimsConfig, base: TrainConfig, name: str, seed: int
) -> subprocess.Popen[bytes]:
    folder = _folder(config, name, seed)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.claims.run", name, *config.flags()]
    command += ["--seed", str(seed), "--output", str(folder)]
    environment = dict(os.environ)
    if base.run.threads:
        environment["OMP_NUM_THREADS"] = str(base.run.threads)
    with (folder / "log.txt").open("ab") as log:
        # In its own session, so that signals of the terminal reach this process only.
        return subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that the running processes are ended too."""
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
