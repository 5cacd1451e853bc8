"""Runs one arm with one seed: `python -m benchmarks.claims.run ARM FLAGS`.

The flags are those of `zerosearch train`: the common settings, a seed and an output folder, in
which `row.json` is written last. The same command continues an interrupted run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from time import perf_counter

import torch

from agents.cli.training.train import parse_arguments
from agents.llm.policy.policy import Policy, load_policy
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.loop import TrainingDiverged, train
from agents.llm.trainer.metrics import read_metrics
from agents.llm.trainer.run_folder import CheckpointStore, write_json
from agents.storage.config_file import with_settings
from agents.storage.output_folder import folder_lock
from benchmarks.claims.arms import ARMS, Learning
from benchmarks.claims.evaluation import evaluate_policy
from benchmarks.claims.imitation import imitate
from benchmarks.claims.mispaired import mispaired_engine
from benchmarks.claims.results import RunResult, budget_of
from benchmarks.claims.unmasked import pages_unmasked
from zs_env.config import ENGINE_KINDS
from zs_env.text.suggestions import unknown_name
from zs_env.transcripts.transcript import Transcript

ROW = "row.json"
STOPPED = 75  # exit status: stopped with a checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPolicy:
    """The result of an arm's training.

    Attributes:
        policy: the trained one.
        seconds: of training.
        note: error of the training; "" without one.
    """

    policy: Policy
    seconds: float
    note: str = ""


def main(argv: Sequence[str]) -> int:
    """Run one arm; returns the exit status."""
    if not argv or argv[0] not in ARMS:
        raise unknown_name("arm", argv[0] if argv else "", ARMS)
    return 0 if run_arm(argv[0], parse_arguments(argv[1:])) else STOPPED


def run_arm(name: str, base: TrainConfig) -> bool:
    """Train, evaluate and write the row, unless it exists; returns False after SIGTERM.

    Args:
        name: of the arm.
        base: the common settings, with seed and output of this run.
    """
    ENGINE_KINDS["mispaired"] = mispaired_engine
    arm = ARMS[name]
    config = with_settings(base, {**arm.change(base), "resume": True})
    # A process of an earlier session may still use the folder.
    with folder_lock(config.run.output, wait=True):
        if (config.run.output / ROW).exists():
            return True
        if config.run.threads:
            torch.set_num_threads(config.run.threads)
        torch.manual_seed(config.run.seed)
        trained = _LEARNING[arm.learning](config)
        if trained is None:
            return False
        played = evaluate_policy(config, trained.policy)
        row = _row(name, base, trained, played)
        write_json(config.run.output / ROW, row.to_json())
    return True


def _reinforce(config: TrainConfig) -> TrainedPolicy | None:
    """Train; if the run diverges, its newest checkpoint is the result."""
    note = ""
    try:
        # All held-out questions are played by `evaluate_policy` only.
        result = train(with_settings(config, {"final_episodes": config.evaluation.eval_episodes}))
        if result.stopped:
            return None
    except (TrainingDiverged, FloatingPointError) as error:
        note = f"{type(error).__name__}: {error}"
    newest = CheckpointStore(config.run.output / "checkpoints").latest()
    steps = read_metrics(config.run.output, "train")
    return TrainedPolicy(
        policy=_load(config, newest or config.model.policy),
        seconds=float(steps[-1]["train_seconds"]) if steps else 0.0,
        note=note,
    )


def _reinforce_unmasked(config: TrainConfig) -> TrainedPolicy | None:
    with pages_unmasked():
        return _reinforce(config)


def _imitate(config: TrainConfig) -> TrainedPolicy:
    policy, started = _load(config, config.model.policy), perf_counter()
    imitate(config, policy)
    return TrainedPolicy(policy=policy, seconds=perf_counter() - started)


def _no_training(config: TrainConfig) -> TrainedPolicy:
    return TrainedPolicy(policy=_load(config, config.model.policy), seconds=0.0)


_LEARNING: Mapping[Learning, Callable[[TrainConfig], TrainedPolicy | None]] = {
    "reinforcement": _reinforce,
    "reinforcement, unmasked": _reinforce_unmasked,
    "imitation": _imitate,
    "none": _no_training,
}


def _load(config: TrainConfig, source: str | Path) -> Policy:
    auto = "cuda" if torch.cuda.is_available() else "cpu"
    device = auto if config.model.device == "auto" else config.model.device
    return load_policy(source, dtype=config.model.dtype, device=device)


def _row(
    name: str,
    base: TrainConfig,
    result: TrainedPolicy,
    played: Mapping[str, Sequence[Transcript]],
) -> RunResult:
    is_trained = ARMS[name].learning.startswith("reinforcement")
    steps, evaluations = (
        read_metrics(base.run.output, kind) if is_trained else []
        for kind in ("train", "evaluation")
    )
    held_out: dict[str, list[tuple[int, float]]] = {setting: [] for setting in played}
    for row in evaluations:
        held_out[row["setting"]].append((row["step"], round(row["f1"], 3)))
    return RunResult(
        arm=name,
        seed=base.run.seed,
        commit=_commit(),
        budget=budget_of(base),
        percents={
            setting: tuple(round(100 * episode.scores()["f1"]) for episode in episodes)
            for setting, episodes in played.items()
        },
        searches={
            setting: round(fmean(episode.num_searches for episode in episodes), 3)
            for setting, episodes in played.items()
        },
        failures=sum(int(row["failed_episodes"]) for row in steps)
        + sum(e.failure is not None for episodes in played.values() for e in episodes),
        rewards=tuple(round(row["reward_mean"], 3) for row in steps),
        held_out=held_out,
        seconds=round(result.seconds),
        note=result.note,
    )


def _commit() -> str:
    """Return the commit of the code, with a + if files differ from it; "" outside git."""
    here = Path(__file__).parent

    def git(*command: str) -> str:
        try:
            done = subprocess.run(["git", *command], cwd=here, capture_output=True, text=True)
        except FileNotFoundError:  # git is not installed
            return ""
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", ":/*.py", ":/*.toml")
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
