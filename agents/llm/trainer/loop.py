"""The training loop: roll out, update, record, save.

`run.py` makes the objects that the loop works with, and `rollouts.py` chooses and collects the
episodes of a step.

Processes started by torchrun run the loop side by side: each plays its share of the episodes, then
all hold the same groups and make the same update, so every rank takes the same branches.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from agents.evaluation.summary import failure_summary, most_common_failure
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.distributed.stop_signal import Stopped
from agents.llm.generators.base import GenerationError
from agents.llm.learner.metrics import UpdateReport
from agents.llm.rollout.metrics import rollout_metrics
from agents.llm.rollout.types import Group
from agents.llm.trainer.collapse import check_collapse
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.evaluator import Row
from agents.llm.trainer.report import evaluation_summary, step_summary
from agents.llm.trainer.rollouts import drop_zero_variance, prefetch_next_step, roll_out
from agents.llm.trainer.run import Run, open_run
from agents.llm.trainer.setup import random_state, restore_random_state
from zs_env.search.types import BudgetExceeded
from zs_env.transcripts.transcript import Transcript

_MAX_SKIPPED_IN_A_ROW = _MAX_FAILED_IN_A_ROW = 3
_WARN_NO_SIGNAL, _REPEAT_NO_SIGNAL = 3, 10
_MAX_ROLLBACKS, _ROLLBACK_LR_FACTOR = 3, 0.5


class TrainingDiverged(RuntimeError):
    """Loss or gradient was not finite in several steps in a row, or the policy collapsed."""


class EngineFailing(RuntimeError):
    """Engine failures ended most episodes of several steps in a row."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Result of a run.

    Attributes:
        steps: updates made.
        train_seconds: from the first rollout to the last update, with the evaluations in between.
        checkpoint: newest checkpoint, a folder in Hugging Face format.
        before: evaluation of the initial policy; empty if the run was stopped before it.
        after: evaluation of the final policy; empty if the run was stopped.
        oracle: F1 by setting of an agent that follows every hop, on the same questions; empty if
            there is no such agent.
        transcripts: held-out episodes of the final policy in the last setting.
        costs: cost of the searches of all sessions, except those of the real engine; fields of
            `zs_env.search.types.SearchCost`.
        stopped: whether SIGTERM ended the run; `config.run.resume` continues it.
    """

    steps: int
    train_seconds: float
    checkpoint: str
    before: Sequence[Row] = ()
    after: Sequence[Row] = ()
    oracle: Mapping[str, float] = field(default_factory=dict)
    transcripts: Sequence[Transcript] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    stopped: bool = False


def train(config: TrainConfig, distributed: DistributedContext = SINGLE_PROCESS) -> TrainResult:
    """Train a policy from the first step, or from the newest checkpoint with `config.run.resume`.

    SIGTERM ends the run after the current update with a checkpoint; the result is then `stopped`.
    After an error marked (R) the run can be resumed.

    Raises:
        FileExistsError: if the output folder holds a run and `resume` is off.
        CheckpointError: if a checkpoint cannot be written or read.
        TrainingDiverged: if loss or gradient were not finite in three steps in a row, or the
            policy collapsed and `guard` does not allow to continue.
        FloatingPointError: if the logits of the policy are not finite.
        ValueError: if a resumed run has other settings, or the settings do not say which questions
            are held out.
        BudgetExceeded: if the engine has spent its budget (R, with a larger one).
        EngineFailing: if engine failures ended most episodes of three steps in a row (R).
        GenerationError: if the servers that generate failed, or the context of the policy was
            too short for every episode of a step (R).
        RankLostError: if another process died or exceeded `rank_deadline_s` (R).
    """
    with open_run(config, distributed) as run:
        state, config = run.state, run.config
        evaluation, steps = config.evaluation, config.run.steps
        try:
            if state.before is None:
                state.before, *_ = _evaluate(run, evaluation.final_episodes)
                _snapshot(run)
            counted = time.perf_counter()
            while state.step < steps:
                if evaluation.eval_every and state.step and state.step % evaluation.eval_every == 0:
                    *_, score = _evaluate(run, evaluation.eval_episodes)
                    _keep_if_best(run, score)
                started = time.perf_counter()
                collected, cursor = roll_out(run)
                _check_engine(run, collected)
                _check_context(run, collected)
                groups = drop_zero_variance(collected, max_refills=config.rollouts.max_refills)
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
                    "wait": joined - updated,  # for prefetched rollouts
                }
                _record(run, collected, report, seconds)
                run.sync_weights()
                if state.step == steps or state.step % config.run.checkpoint_every == 0:
                    _save(run)
            after, transcripts, score = _evaluate(run, evaluation.final_episodes)
            _keep_if_best(run, score)
            play_oracle = partial(run.evaluator.oracle, episodes=evaluation.final_episodes)
            (oracle,) = run.split(
                lambda: [play_oracle()] if distributed.is_main else [], "play the oracle"
            )
        except Stopped:
            _save(run)
            return _result(run, stopped=True)
        except (BudgetExceeded, EngineFailing, GenerationError):
            _save(run)
            raise
        return _result(run, after=after, oracle=oracle, transcripts=transcripts)


def _evaluate(run: Run, episodes: int) -> tuple[list[Row], list[Transcript], float]:
    """Evaluate the policy and show the result; global random states stay as they were.

    Returns what `Evaluator.aggregate` returns.
    """
    before = random_state()
    shares = run.split(
        lambda: [run.evaluator.evaluate(run.policy, run.generator, episodes=episodes)],
        f"evaluate the policy after step {run.state.step}",
    )
    rows, transcripts, score = run.evaluator.aggregate(shares)
    restore_random_state(before)
    if run.metrics is not None:
        for row in rows:
            run.metrics.write("evaluation", run.state.step, row)
    run.progress.print(evaluation_summary(run.state.step, rows))
    return rows, transcripts, score


def _check_engine(run: Run, groups: Sequence[Group]) -> None:
    """Stop if failures end most episodes: only episodes without a search would remain."""
    state, rollouts = run.state, [rollout for group in groups for rollout in group.rollouts]
    failures = [failure for r in rollouts if (failure := r.transcript.failure) is not None]
    if 2 * len(failures) <= len(rollouts):
        state.failed_in_a_row = 0
        return
    state.failed_in_a_row += 1
    summary = failure_summary(len(failures), len(rollouts), most_common_failure(failures))
    message = f"step {state.step + 1}: {summary}"
    run.progress.print(message)
    if state.failed_in_a_row == _MAX_FAILED_IN_A_ROW:
        state.failed_in_a_row = 0
        raise EngineFailing(
            f"{message}; {_MAX_FAILED_IN_A_ROW} steps in a row were like this: check the engine, "
            "then continue with --resume"
        )


def _check_context(run: Run, groups: Sequence[Group]) -> None:
    """Stop if the context was too short for every episode of a step."""
    sound = [rollout for group in groups for rollout in group.rollouts if not rollout.failed]
    if sound and all(rollout.context_full for rollout in sound):
        raise GenerationError(
            f"step {run.state.step + 1}: all {len(sound)} episodes used up the context of the "
            f"policy, {run.generator.max_context} tokens, before they answered; use fewer or "
            "shorter documents (num_documents, max_document_chars), fewer turns (max_turns), a "
            "shorter prompt, or a policy with a longer context"
        )


def _record(
    run: Run, groups: Sequence[Group], report: UpdateReport, seconds: dict[str, float]
) -> None:
    """Write the metrics of a step and decide whether the run continues."""
    state, config = run.state, run.config
    row = {
        **rollout_metrics(groups),
        "noise_probability": config.noise.schedule(config.run.steps).probability(state.step - 1),
        **report.metrics,
        "skipped": report.skipped,
        **{f"{name}_seconds": value for name, value in seconds.items()},
        "train_seconds": state.train_seconds,
    }
    if run.metrics is not None:
        run.metrics.write("train", state.step, row)
    run.progress.update(state.step, step_summary(row))
    state.skipped_in_a_row = state.skipped_in_a_row + 1 if report.failed else 0
    if report.failed:
        path = run.distributed.run_on_main(
            lambda: run.folder.dump_groups(state.step, groups), "write the rollouts"
        )
        run.progress.print(f"step {state.step} was skipped: {report.reason}; its rollouts: {path}")
    _check_signal(run, groups)
    _check_collapse(run, row)
    _snapshot(run)
    if state.skipped_in_a_row >= _MAX_SKIPPED_IN_A_ROW:
        raise TrainingDiverged(
            f"{_MAX_SKIPPED_IN_A_ROW} steps in a row were skipped, the last because "
            f"{report.reason}; their rollouts are in {run.folder.path / 'bad_batches'}, the last "
            f"checkpoint is {run.folder.checkpoints.latest()}; start again with a lower "
            "learning_rate"
        )


def _check_signal(run: Run, groups: Sequence[Group]) -> None:
    """Warn if several steps in a row, or all of a short run, have no rewards to compare."""
    state, config = run.state, run.config
    rewards = {r.reward for group in groups for r in group.rollouts if not r.failed}
    compares_all = len(rewards) > 1 and not config.algorithm.needs_groups
    if compares_all or any(group.has_signal for group in groups):
        state.no_signal_in_a_row = 0
    elif rewards:
        state.no_signal_in_a_row += 1
        count = state.no_signal_in_a_row
        short_run = count == state.step == config.run.steps
        if short_run or count == _WARN_NO_SIGNAL or count % _REPEAT_NO_SIGNAL == 0:
            run.progress.print(
                f"step {state.step}: in the last {count} steps the rewards of every group were "
                f"equal (now {min(rewards):g}), so the policy learns nothing from them; make a "
                "warm start (zerosearch warm-start), raise --group-size, or use easier questions"
            )


def _check_collapse(run: Run, row: Mapping[str, Any]) -> None:
    """Report a collapse of the policy, and roll back or stop as `guard` says."""
    state, reaction = run.state, run.config.run.guard
    state.recent, collapse = check_collapse(state.recent, state.step, row)
    if collapse is None:
        return
    state.recent = ()
    run.progress.print(f"step {state.step}: the policy collapses: {collapse}")
    if reaction == "roll_back" and state.rollbacks < _MAX_ROLLBACKS:
        state.rollbacks += 1
        source = run.rollback(lr_scale=run.learner.lr_scale * _ROLLBACK_LR_FACTOR)
        run.progress.print(
            f"rolled back to the policy of {source}; learning rate x {run.learner.lr_scale:g}"
        )
    elif reaction != "warn":
        raise TrainingDiverged(
            f"the policy collapses: {collapse}; the best checkpoint is in "
            f"{run.folder.checkpoints.folder}; start again with a lower learning_rate or a "
            "kl_coef above 0"
        )


def _snapshot(run: Run) -> None:
    """Take a snapshot of the run's state for the next checkpoint."""
    if run.metrics is not None:
        run.state.metrics_position = run.metrics.position()
    run.state.costs = run.costs()
    run.state.random = random_state()


def _save(run: Run) -> None:
    step, checkpoints = run.state.step, run.folder.checkpoints
    state = {
        "run": asdict(run.state),
        "learner": run.learner.state_dict(),
        "prefetched": run.prefetcher.to_json(step),
    }
    run.distributed.run_on_main(
        lambda: checkpoints.save(step, state, run.policy.save),
        f"write the checkpoint of step {step}",
    )


def _keep_if_best(run: Run, score: float) -> None:
    """Mark the policy as the best if its score is the highest so far."""
    checkpoints = run.folder.checkpoints
    best = checkpoints.best()
    if score > (best[1] if best else -1.0):  # False for NaN, if all episodes failed
        _save(run)
        run.distributed.run_on_main(
            lambda: checkpoints.mark_best(run.state.step, score), "mark the best checkpoint"
        )


def _result(run: Run, **ending: Any) -> TrainResult:
    return TrainResult(
        steps=run.state.step,
        train_seconds=run.state.train_seconds,
        checkpoint=str(run.folder.checkpoints.latest()),
        before=run.state.before or (),
        costs=run.costs(),
        **ending,
    )
