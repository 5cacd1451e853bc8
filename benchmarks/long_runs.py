"""Longer runs of every algorithm on the embedded world, with several seeds.

    python -m benchmarks.long_runs [--json] [--output FOLDER] [--record FILE] [--only CASE ...]
                                   [--at-once N] [-- FLAGS]

GRPO and REINFORCE run for three times the default steps with three seeds, the others for the
default steps with two. A case is a run of `zerosearch train` in its own folder. Its result is one
line of the record; recorded cases are not run again, also on another machine. The curves of all
cases are plotted next to the record. The last column lists the collapses that the collapse guard
detects.
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

from agents.llm.trainer.collapse import check_collapse
from agents.llm.trainer.metrics import read_metrics
from benchmarks.workers.train_run import ended_run
from zs_env.questions.rows import read_rows

_LONG, _LONG_SEEDS, _LONG_STEPS = ("grpo", "reinforce"), (0, 1, 2), 114
_SHORT, _SHORT_SEEDS = ("ppo", "reinforce_pp", "rloo", "dapo", "gspo", "cispo"), (0, 1)
_RECORDED = ("reward_mean", "entropy", "malformed_rate", "searches_mean", "grad_norm", "kl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run.

    Attributes:
        algorithm: its name in the trainer.
        seed: of every random choice.
        flags: further flags.
    """

    algorithm: str
    seed: int
    flags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the case in the record and on the command line."""
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
    """The result of a case: one line of the record.

    Attributes:
        case: its name.
        seconds: of training.
        before: F1 of the initial policy on held-out questions, by setting.
        after: F1 of the final policy.
        evaluations: during the run, rows of step, setting and F1.
        curves: metrics of every step.
        collapses: messages of the collapse guard by step; it restarts after each, so a run can have
            several.
    """

    case: str
    seconds: float
    before: dict[str, float]
    after: dict[str, float]
    evaluations: list[dict[str, Any]]
    curves: dict[str, list[float]]
    collapses: dict[str, str]


def main() -> None:
    """Run the cases without a record, then print and plot all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/long_runs"))
    parser.add_argument("--record", type=Path, default=Path("docs/long_runs.jsonl"))
    parser.add_argument("--only", nargs="*", choices=[case.name for case in CASES])
    parser.add_argument("--at-once", type=int, default=1, help="number of parallel cases")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("flags", nargs="*", help="for zerosearch train, after --")
    arguments = parser.parse_args()
    recorded = {run.case for run in read_record(arguments.record)}
    wanted = [case for case in CASES if case.name in (arguments.only or {c.name for c in CASES})]
    with ThreadPoolExecutor(arguments.at_once) as pool:
        missing = [case for case in wanted if case.name not in recorded]
        started = [pool.submit(_run, case, arguments.output, arguments.flags) for case in missing]
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
    """Return the recorded runs; none if the file is missing."""
    return [LongRun(**row) for _, row in read_rows(path)] if path.exists() else []


def summarize(case: str, folder: Path, result: Mapping[str, Any]) -> LongRun:
    """Summarize a run from its result and the metrics in its folder."""
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
            for name in _RECORDED
        },
        collapses=dict(_collapses(steps)),
    )


def draw(runs: Sequence[LongRun], path: Path) -> None:
    """Plot training reward, held-out F1 and entropy of every case, with one colour an algorithm."""
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
        clean = [row for row in run.evaluations if row["setting"] == next(iter(run.before))]
        held_out.plot([row["step"] for row in clean], [row["f1"] for row in clean], **look)
        entropy.plot(range(1, len(run.curves["entropy"]) + 1), run.curves["entropy"], **look)
    rewards.set(title="training reward, rising noise", xlabel="step", ylim=(0, 1))
    held_out.set(title="held-out F1 without noise", xlabel="step", ylim=(0, 1))
    entropy.set(title="entropy, nats a token", xlabel="step")
    rewards.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def _run(case: Case, output: Path, flags: Sequence[str]) -> LongRun:
    folder = output / case.name
    chosen = ["--algorithm", case.algorithm, "--seed", str(case.seed), *case.flags, *flags]
    return summarize(case.name, folder, ended_run(folder, chosen))


def _collapses(steps: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    recent: Sequence[Mapping[str, Any]] = ()
    for row in steps:
        recent, message = check_collapse(recent, row["step"], row)
        if message is not None:
            yield str(row["step"]), message
            recent = ()


def _append(record: Path, run: LongRun) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    with open(record, "a", encoding="utf-8") as lines:
        lines.write(f"{json.dumps(asdict(run))}\n")


def _table(runs: Sequence[LongRun]) -> Table:
    table = Table("case", "seconds", "F1 before", "F1 after", "collapses")
    for run in runs:
        collapses = "; ".join(f"step {step}: {words}" for step, words in run.collapses.items())
        table.add_row(
            run.case,
            f"{run.seconds:.0f}",
            _scores(run.before),
            _scores(run.after),
            collapses or "none",
        )
    return table


def _scores(scores: dict[str, float]) -> str:
    return ", ".join(f"{setting} {score:.3f}" for setting, score in scores.items())


if __name__ == "__main__":
    main()
