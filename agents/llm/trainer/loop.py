"""The training loop: roll out, update, record, save.

Read `train` and you know the trainer. Everything it works with is opened in `training_run.py`;
which episodes a step plays, and when, is in `step_rollouts.py`.

Several processes, started by torchrun, run it side by side: each plays its share of the episodes,
then all hold the same groups, make the same update and know the same, so that every branch is taken
by all of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from agents.evaluation.summary import failure_summary, most_common_failure
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.distributed.stop_signal import Stopped
from agents.llm.generators.base import GenerationError
from agents.llm.learner.metrics import UpdateReport
from agents.llm.rollout.metrics import rollout_metrics
from agents.llm.rollout.types import Group
from agents.llm.trainer.checkpoint import random_state, restore_random_state
from agents.llm.trainer.collapse import CollapseWatch
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.evaluator import Row
from agents.llm.trainer.rollouts import drop_zero_variance, prefetch_next_step, roll_out
from agents.llm.trainer.run import Run, open_run
from zs_env.search.types import BudgetExceeded
from zs_env.transcripts.transcript import Transcript

_MAX_SKIPPED_IN_A_ROW = _MAX_VOID_IN_A_ROW = 3
_MAX_ROLLBACKS, _SLOWER = 3, 0.5


class TrainingDiverged(RuntimeError):
    """Loss or gradient was not finite in several steps in a row, or the policy collapsed."""


class EngineFailing(RuntimeError):
    """Failures of the engine ended most episodes of several steps in a row."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended.

    Attributes:
        steps: updates made.
        train_seconds: first rollout to last update, evaluation in between included.
        checkpoint: newest checkpoint, a folder in Hugging Face format.
        before: examination of the policy as it started; empty where the run was stopped first.
        after: the same of the policy as it ended; empty where the run was stopped.
        ceiling: F1 by setting of an agent that searches as well as one can, on the same
            questions; empty where there is none.
        transcripts: held-out episodes of the policy as it ended, in the last setting.
        costs: what the searches of all sessions took, but for those of the real engine; fields of
            `zs_env.search.types.SearchCost`.
        stopped: whether SIGTERM ended the run; --resume goes on.
    """

    steps: int
    train_seconds: float
    checkpoint: str
    before: Sequence[Row] = ()
    after: Sequence[Row] = ()
    ceiling: Mapping[str, float] = field(default_factory=dict)
    transcripts: Sequence[Transcript] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    stopped: bool = False


def train(config: TrainConfig, distributed: DistributedContext = SINGLE_PROCESS) -> TrainResult:
    """Train a policy from the first step, or from the newest checkpoint with `config.resume`.

    SIGTERM ends it after the update at hand with a checkpoint; that is a result, not an error.

    Raises:
        FileExistsError: if `config.output` holds a run and `config.resume` is off.
        CheckpointError: if a checkpoint cannot be written or read.
        TrainingDiverged: if loss or gradient were not finite in three steps in a row, or the
            policy collapsed and `config.guard` does not go on from there.
        FloatingPointError: if the policy's logits are not finite.
        ValueError: if a resumed run has other settings, or nobody says which questions are held
            out.
        BudgetExceeded: if the engine has spent its budget; `config.resume` goes on with more.
        EngineFailing: if failures of the engine ended most episodes of three steps in a row;
            `config.resume` goes on.
        GenerationError: if the servers that write turns failed; `config.resume` goes on.
        RankLostError: if another process died, or did not answer within `config.rank_deadline_s`.
    """
    with open_run(config, distributed) as run:
        state, config = run.state, run.config
        try:
            if state.before is None:
                state.before, _ = _examine(run, config.final_episodes)
                _remember(run)
            counted = time.perf_counter()
            while state.step < config.steps:
                if config.eval_every and state.step and state.step % config.eval_every == 0:
                    rows, _ = _examine(run, config.eval_episodes)
                    _keep_if_best(run, rows)
                started = time.perf_counter()
                played, cursor = roll_out(run)
                _check_engine(run, played)
                groups = drop_zero_variance(config, played)
                rolled_out = time.perf_counter()
                with prefetch_next_step(run, cursor):
                    report = run.learner.update(groups)
                    updated = time.perf_counter()
                joined = time.perf_counter()
                state.step += 1
                state.cursor = cursor
                state.train_seconds += joined - counted
                counted = joined
                seconds = {
                    "rollout": rolled_out - started,
                    "update": updated - rolled_out,
                    "wait": joined - updated,  # for what is played ahead
                }
                _record(run, played, report, seconds)
                run.sync_weights()
                last = state.step == config.steps
                if last or state.step % config.checkpoint_every == 0:
                    _save(run)
            after, transcripts = _examine(run, config.final_episodes)
            _keep_if_best(run, after)
            ceiling = _ceiling(run)
        except Stopped:
            return _result(run, checkpoint=_save(run), stopped=True)
        except (BudgetExceeded, EngineFailing, GenerationError):
            _save(run)
            raise
        return _result(run, after=after, ceiling=ceiling, transcripts=transcripts)


def _examine(run: Run, episodes: int) -> tuple[list[Row], list[Transcript]]:
    """Examine the policy and show it; the run's own random states stay as they were."""
    before = random_state()
    played = run.split(
        lambda: [run.examination.play(run.policy, run.generator, episodes=episodes)],
        f"examine the policy after step {run.state.step}",
    )
    rows, transcripts = run.examination.judge(played)
    restore_random_state(before)
    for row in rows:
        run.metrics.write("evaluation", run.state.step, row)
    run.progress.evaluation(run.state.step, rows)
    return rows, transcripts


def _ceiling(run: Run) -> dict[str, float]:
    def play() -> list[dict[str, float]]:
        first = run.distributed.is_main
        return [run.examination.ceiling(episodes=run.config.final_episodes)] if first else []

    return run.split(play, "find the ceiling")[0]


def _check_engine(run: Run, groups: Sequence[Group]) -> None:
    """Stop the run if failures end most episodes: only episodes without searches would be left."""
    state, rollouts = run.state, [rollout for group in groups for rollout in group.rollouts]
    failures = [rollout.transcript.failure for rollout in rollouts if rollout.failed]
    if 2 * len(failures) <= len(rollouts):
        state.void_in_a_row = 0
        return
    state.void_in_a_row += 1
    told = failure_summary(len(failures), len(rollouts), most_common_failure(failures))
    said = f"step {state.step + 1}: {told}"
    run.progress.note(said)
    if state.void_in_a_row == _MAX_VOID_IN_A_ROW:
        state.void_in_a_row = 0
        raise EngineFailing(
            f"{said}; it was so in {_MAX_VOID_IN_A_ROW} steps in a row: see that the engine works, "
            "then go on with --resume"
        )


def _record(
    run: Run, groups: Sequence[Group], report: UpdateReport, seconds: dict[str, float]
) -> None:
    """Write the metrics of a step that has just ended, and judge whether to go on."""
    state = run.state
    row = {
        **rollout_metrics(groups),
        "noise_probability": run.config.noise().probability(state.step - 1),
        **report.metrics,
        "skipped": report.skipped,
        **{f"{name}_seconds": value for name, value in seconds.items()},
        "train_seconds": state.train_seconds,
    }
    run.metrics.write("train", state.step, row)
    run.progress.step(state.step, row)
    state.skipped_in_a_row = state.skipped_in_a_row + 1 if report.failed else 0
    if report.failed:
        path = run.distributed.run_on_main(
            lambda: run.folder.dump_groups(state.step, groups), "keep the rollouts"
        )
        run.progress.note(f"step {state.step} was skipped: {report.reason}; its rollouts: {path}")
    _watch(run, row)
    _remember(run)
    if state.skipped_in_a_row >= _MAX_SKIPPED_IN_A_ROW:
        raise TrainingDiverged(
            f"{_MAX_SKIPPED_IN_A_ROW} steps in a row were skipped, the last because "
            f"{report.reason}; their rollouts are in {run.folder.path / 'bad_batches'}, the last "
            f"checkpoint is {run.folder.checkpoints.latest()}; start again with a lower "
            "learning_rate"
        )


def _watch(run: Run, row: Mapping[str, Any]) -> None:
    """See whether the policy collapses, say so, and do about it what `config.guard` asks for."""
    state, guard = run.state, run.config.guard
    watch = CollapseWatch(state.watched)
    seen = watch.see(state.step, row)
    state.watched = watch.seen
    if seen is None:
        return
    state.watched = []
    run.progress.note(f"step {state.step}: the policy collapses: {seen}")
    if guard == "roll_back" and state.rollbacks < _MAX_ROLLBACKS:
        state.rollbacks += 1
        source = run.rollback(lr_scale=run.learner.lr_scale * _SLOWER)
        run.progress.note(
            f"went back to the policy of {source}; learning rate x {run.learner.lr_scale:g}"
        )
    elif guard != "warn":
        raise TrainingDiverged(
            f"the policy collapses: {seen}; the best checkpoint is in "
            f"{run.folder.checkpoints.folder}; start again with a lower learning_rate or a "
            "kl_coef above 0"
        )


def _remember(run: Run) -> None:
    """Take down where the run stands now, for whichever checkpoint comes next."""
    run.state.metrics_position = run.metrics.position()
    run.state.costs = run.costs()
    run.state.random = random_state()


def _save(run: Run) -> str:
    step, checkpoints = run.state.step, run.folder.checkpoints
    state = {
        "run": asdict(run.state),
        "learner": run.learner.state_dict(),
        "prefetched": run.prefetcher.to_json(step),
    }
    return run.distributed.run_on_main(
        lambda: str(checkpoints.save(step, state, run.policy.save)),
        f"write the checkpoint of step {step}",
    )


def _keep_if_best(run: Run, rows: Sequence[Row]) -> None:
    """Keep the policy as it is if no earlier one scored higher, averaged over the settings."""
    score = float(np.mean([row["f1"] for row in rows]))
    checkpoints = run.folder.checkpoints
    best = checkpoints.best()
    if score > (best[1] if best else -1.0):  # never where every episode was void
        _save(run)
        run.distributed.run_on_main(
            lambda: checkpoints.mark_best(run.state.step, score), "mark the best checkpoint"
        )


def _result(run: Run, **ending: Any) -> TrainResult:
    checkpoint = str(run.folder.checkpoints.latest())
    return TrainResult(
        steps=run.state.step,
        train_seconds=run.state.train_seconds,
        before=run.state.before or (),
        costs=run.costs(),
        **{"checkpoint": checkpoint, **ending},
    )
