"""Every algorithm on the embedded world, for longer and with several seeds: what does training do?

    python -m benchmarks.long_runs [--json] [--output FOLDER] [--record FILE] [--only CASE ...]
                                   [--at-once N] [-- FLAGS]

GRPO and REINFORCE run for three times the default steps with three seeds, the others for the
default steps with two. A case is a run of `zerosearch train` in a folder of its own; what it came
to is one line of the record, and a case that stands there is not run again, so that the record may
travel from machine to machine. Curves of all cases are drawn beside the record. Every step is put
to the watch for collapses, and what it says stands in the last column.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from agents.llm.trainer.collapse import CollapseWatch
from agents.llm.trainer.metrics import read_metrics
from benchmarks.workers.train_run import ended_run
from zs_env.questions.rows import read_rows

_LONG, _LONG_SEEDS, _LONG_STEPS = ("grpo", "reinforce"), (0, 1, 2), 114
_SHORT, _SHORT_SEEDS = ("ppo", "reinforce_pp", "rloo", "dapo", "gspo", "cispo"), (0, 1)
_KEPT = ("reward_mean", "entropy", "malformed_rate", "searches_mean", "grad_norm", "kl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run.

    Attributes:
        algorithm: a row of the trainer's table.
        seed: of everything that is drawn.
        flags: further ones.
    """

    algorithm: str
    seed: int
    flags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As the record and the command line call it."""
        return f"{self.algorithm}-{self.seed}"


CASES = [
    *(
        Case(algorithm=name, seed=seed, flags=("--steps", str(_LONG_STEPS)))
        for seed in _LONG_SEEDS
        for name in _LONG
    ),
    *(Case(algorithm=name, seed=seed) for seed in _SHORT_SEEDS for name in _SHORT),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRun:
    """What a case came to; one line of the record.

    Attributes:
        case: its name.
        seconds: of training.
        before: F1 by setting, of the policy that the run began with, on held-out questions.
        after: the same of the policy as it ended.
        evaluations: of the run in between, rows of step, setting and F1.
        curves: metrics of every step, from the first.
        collapses: what the watch for collapses said, by the step at which it did; it is begun
            anew after each, so that a run may have several.
    """

    case: str
    seconds: float
    before: dict[str, float]
    after: dict[str, float]
    evaluations: list[dict[str, Any]]
    curves: dict[str, list[float]]
    collapses: dict[str, str]


def main() -> None:
    """Run what is not on record, then print and draw all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/long_runs"))
    parser.add_argument("--record", type=Path, default=Path("docs/long_runs.jsonl"))
    parser.add_argument("--only", nargs="*", choices=[case.name for case in CASES])
    parser.add_argument("--at-once", type=int, default=1, help="cases run side by side")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("flags", nargs="*", help="for zerosearch train, after --")
    arguments = parser.parse_args()
    there = {run.case for run in read_record(arguments.record)}
    wanted = [case for case in CASES if case.name in (arguments.only or {c.name for c in CASES})]
    with ThreadPoolExecutor(arguments.at_once) as pool:
        left = [case for case in wanted if case.name not in there]
        started = [pool.submit(_run, case, arguments.output, arguments.flags) for case in left]
        for ended in as_completed(started):
            _append(arguments.record, ended.result())
    runs = read_record(arguments.record)
    if runs:
        draw(runs, arguments.record.with_suffix(".png"))
    if arguments.json:
        print(json.dumps({"runs": [asdict(run) for run in runs]}))
    else:
        Console().print(_table(runs))


def read_record(path: Path) -> list[LongRun]:
    """Return what is on record; nothing where there is no file."""
    return [LongRun(**row) for _, row in read_rows(path)] if path.exists() else []


def summarize(case: str, folder: Path, result: Mapping[str, Any]) -> LongRun:
    """Tell a run by its result and by the metrics in its folder."""
    steps = read_metrics(folder, "train")
    return LongRun(
        case=case,
        seconds=round(result["train_seconds"], 1),
        before={row["setting"]: round(row["f1"], 4) for row in result["before"]},
        after={row["setting"]: round(row["f1"], 4) for row in result["after"]},
        evaluations=[
            {"step": row["step"], "setting": row["setting"], "f1": round(row["f1"], 4)}
            for row in read_metrics(folder, "evaluation")
        ],
        curves={
            name: [round(row[name], 4) for row in steps if row.get(name) is not None]
            for name in _KEPT
        },
        collapses=dict(_collapses(steps)),
    )


def draw(runs: Sequence[LongRun], path: Path) -> None:
    """Draw training reward, held-out F1 and entropy of every case, a colour an algorithm."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    rewards, held_out, entropy = figure.subplots(1, 3)
    colours = {name: f"C{number}" for number, name in enumerate([*_LONG, *_SHORT])}
    labelled = set[str]()
    for run in runs:
        algorithm = run.case.rpartition("-")[0]
        look: dict[str, Any] = {"color": colours[algorithm], "linewidth": 1}
        steps = range(1, len(run.curves["reward_mean"]) + 1)
        label = None if algorithm in labelled else algorithm
        rewards.plot(steps, run.curves["reward_mean"], label=label, **look)
        labelled.add(algorithm)
        quiet = [row for row in run.evaluations if row["setting"] == next(iter(run.before))]
        held_out.plot([row["step"] for row in quiet], [row["f1"] for row in quiet], **look)
        entropy.plot(range(1, len(run.curves["entropy"]) + 1), run.curves["entropy"], **look)
    rewards.set(title="training reward, noise rising", xlabel="step", ylim=(0, 1))
    held_out.set(title="held-out F1 without noise", xlabel="step", ylim=(0, 1))
    entropy.set(title="entropy, nats a token", xlabel="step")
    rewards.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def _run(case: Case, output: Path, flags: Sequence[str]) -> LongRun:
    folder = output / case.name
    chosen = ["--algorithm", case.algorithm, "--seed", str(case.seed), *case.flags, *flags]
    return summarize(case.name, folder, ended_run(folder, chosen))


def _collapses(steps: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    watch = CollapseWatch()
    for row in steps:
        told = watch.see(row["step"], row)
        if told is not None:
            yield str(row["step"]), told
            watch.forget()


def _append(record: Path, run: LongRun) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    with open(record, "a", encoding="utf-8") as lines:
        lines.write(f"{json.dumps(asdict(run))}\n")


def _table(runs: Sequence[LongRun]) -> Table:
    table = Table("case", "seconds", "F1 before", "F1 after", "collapses")
    for run in runs:
        told = "; ".join(f"step {step}: {words}" for step, words in run.collapses.items())
        table.add_row(
            run.case, f"{run.seconds:.0f}", _scores(run.before), _scores(run.after), told or "none"
        )
    return table


def _scores(scores: dict[str, float]) -> str:
    return ", ".join(f"{setting} {score:.3f}" for setting, score in scores.items())


if __name__ == "__main__":
    main()
