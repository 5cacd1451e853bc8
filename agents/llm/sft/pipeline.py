"""The warm start: plays demonstrations, trains on them and saves a policy that knows the format.

RL needs it for a model that never closes a tag, because every episode then scores 0.

A warm start that was killed continues from its newest checkpoint to the same bits: demonstrations
and the order of the steps follow from the settings. In a distributed run every rank plays the same
demonstrations and the main rank writes files.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.distributed.fsdp import gather_weights
from agents.llm.learner.learner import Learner
from agents.llm.policy.policy import Policy
from agents.llm.rollout.types import Rollout, Source
from agents.llm.sft.config import DemonstrationConfig, WarmStartConfig
from agents.llm.sft.demonstrations import encode_demonstration, play_demonstrations
from agents.llm.sft.supervised import SUPERVISED, mean_loss, plan_steps, train_steps
from agents.llm.trainer.config import env_settings
from agents.llm.trainer.metrics import MetricsLog
from agents.llm.trainer.run_folder import RunFolder, load_state, write_json
from agents.llm.trainer.setup import (
    choose_precision,
    choose_prompt,
    load_trained_policy,
    set_up_torch,
)
from zs_env.transcripts.storage import append_transcripts

_RESULT = "result.json"


@dataclass(frozen=True, kw_only=True)
class WarmStartResult:
    """Result of a warm start.

    Attributes:
        demonstrations: episodes trained on.
        tokens: tokens of these episodes, of all sources.
        steps: optimizer steps.
        loss_before: mean loss on held-out demonstrations before training, nats per policy token.
        loss_after: the same after training.
        train_seconds: from the first step to the last, of all sessions.
        policy: folder of the finished policy.
    """

    demonstrations: int
    tokens: int
    steps: int
    loss_before: float
    loss_after: float
    train_seconds: float
    policy: str


@dataclass
class _State:
    """State of a warm start beside weights and optimizer; part of its checkpoints."""

    fingerprint: str
    loss_before: float
    train_seconds: float = 0.0
    metrics_position: int = 0


def warm_start(
    config: WarmStartConfig,
    distributed: DistributedContext = SINGLE_PROCESS,
    *,
    on_step: Callable[[int, float], None] | None = None,
    on_progress: Callable[[str, int, int | None], object] | None = None,
) -> WarmStartResult:
    """Play demonstrations, train on them, and save policy and demonstrations in the output folder.

    Args:
        config: all settings. With `config.run.resume` an unfinished warm start is continued and a
            finished one is not repeated.
        distributed: ranks that the policy is sharded over.
        on_step: called after each step with its 0-based index and loss, nats per policy token.
        on_progress: called with what is counted, how many, and the total, before `on_step`.

    Raises:
        FileExistsError: if the output folder holds other files, or a warm start and `resume` is
            off.
        CheckpointError: if a checkpoint cannot be written or read.
        ValueError: if the questions give too few demonstrations, or a resumed warm start has other
            settings or other demonstrations.
        FloatingPointError: if a loss or gradient is not finite.
        RankLostError: if another process died or exceeded `rank_deadline_s`.
    """
    report = on_progress or (lambda *_: None)
    output = config.run.output
    if not (output / config.settings_file).exists() and any(output.glob("[!.]*")):
        raise FileExistsError(f"{output} is not empty; choose another --output")
    folder = RunFolder(config)
    config = folder.config
    if (output / _RESULT).exists():
        # A killed process may have left some; a policy is loaded from them first.
        shutil.rmtree(folder.checkpoints.folder, ignore_errors=True)
        recorded = json.loads((output / _RESULT).read_text(encoding="utf-8"))
        return WarmStartResult(**{**recorded, "policy": str(output)})
    set_up_torch(config.run, device=config.model.device, distributed=distributed)
    folder.config = config = choose_precision(config, distributed)
    checkpoint = folder.checkpoints.latest()
    policy = load_trained_policy(config.model, checkpoint)
    choose_prompt(config.demonstrations.prompt, policy)
    policy.record_env_settings(env_settings(config.demonstrations))
    rollouts = _demonstrations(config.demonstrations, policy, report, seed=config.run.seed)
    held_out = rollouts[: config.demonstrations.held_out]
    trained_on = rollouts[config.demonstrations.held_out :]
    steps = plan_steps(
        trained_on,
        tokens_per_step=config.supervision.tokens_per_batch,
        epochs=config.supervision.epochs,
        num_steps=config.supervision.steps or None,
        seed=config.run.seed,
    )
    learner = Learner(
        # Only a full copy can be saved; a sharded model is gathered into it.
        policy.model if distributed.world_size == 1 else deepcopy(policy.model),
        algorithm=SUPERVISED,
        optimizer=config.optimizer,
        total_updates=len(steps),
        seed=config.run.seed,
        distributed=distributed,
    )
    report("held-out loss", 0, None)
    state = _begin(learner, checkpoint, rollouts, held_out)
    distributed.run_on_main(folder.record_config, "begin the run")
    metrics = None
    if distributed.is_main:
        position, step = state.metrics_position, learner.updates
        metrics = MetricsLog(output, position=position, step=step, tensorboard=False)
    earlier_s, started = state.train_seconds, time.perf_counter()

    def after_step(step: int, loss: float) -> None:
        if metrics is not None:
            metrics.write("warm_start", step + 1, {"loss": loss})
        state.train_seconds = earlier_s + time.perf_counter() - started
        if (step + 1) % config.run.checkpoint_every == 0:
            if metrics is not None:
                state.metrics_position = metrics.position()
            gather_weights(learner.policy, policy.model, distributed)
            saved = {"state": asdict(state), "learner": learner.state_dict()}
            distributed.run_on_main(
                lambda: folder.checkpoints.save(step + 1, saved, policy.save),
                f"write the checkpoint of step {step + 1}",
            )
        report("step", step + 1, len(steps))
        if on_step is not None:
            on_step(step, loss)

    try:
        train_steps(learner, trained_on, steps, on_step=after_step)
    finally:
        if metrics is not None:
            metrics.close()
    gather_weights(learner.policy, policy.model, distributed)
    result = WarmStartResult(
        demonstrations=len(trained_on),
        tokens=sum(len(rollout.token_ids) for rollout in trained_on),
        steps=len(steps),
        loss_before=state.loss_before,
        loss_after=mean_loss(learner, held_out),
        train_seconds=state.train_seconds,
        policy=str(output),
    )
    distributed.run_on_main(
        lambda: _finish(folder, policy, trained_on, result), "save the finished policy"
    )
    return result


def _begin(
    learner: Learner,
    checkpoint: Path | None,
    rollouts: Sequence[Rollout],
    held_out: Sequence[Rollout],
) -> _State:
    """Load the state of the checkpoint, or return that of a new warm start."""
    ids = [rollout.token_ids for rollout in rollouts]
    fingerprint = sha256(repr(ids).encode()).hexdigest()
    if checkpoint is None:
        return _State(fingerprint, mean_loss(learner, held_out))
    saved = load_state(checkpoint)
    state = _State(**saved["state"])
    if state.fingerprint != fingerprint:
        raise ValueError(
            f"--resume got other demonstrations than those of {checkpoint}; restore the question "
            "files and the version of the package, or choose another --output"
        )
    learner.load_state_dict(saved["learner"])
    return state


def _finish(
    folder: RunFolder[WarmStartConfig],
    policy: Policy,
    trained_on: Sequence[Rollout],
    result: WarmStartResult,
) -> None:
    """Write policy, demonstrations and result, and delete the checkpoints."""
    policy.save(folder.path)
    demonstrations = folder.path / "demonstrations.jsonl"
    demonstrations.unlink(missing_ok=True)
    append_transcripts(demonstrations, [rollout.transcript for rollout in trained_on])
    # Last: a folder with a result is finished.
    write_json(folder.path / _RESULT, asdict(result))
    shutil.rmtree(folder.checkpoints.folder, ignore_errors=True)


def _demonstrations(
    config: DemonstrationConfig,
    policy: Policy,
    report: Callable[[str, int, int | None], object],
    *,
    seed: int,
) -> list[Rollout]:
    """Held-out demonstrations, then those to train on, each on another question."""
    rollouts: list[Rollout] = []
    tried = 0
    for transcript in play_demonstrations(config, seed=seed):
        tried += 1
        if transcript is not None:
            rollout = encode_demonstration(policy, transcript)
            actions = [s.token_ids for s in rollout.segments if s.source is Source.POLICY]
            if max(map(len, actions)) <= config.max_new_tokens:
                rollouts.append(rollout)
        report("demonstrations", len(rollouts), config.held_out + config.episodes)
        if len(rollouts) == config.held_out + config.episodes:
            break
    if len(rollouts) <= config.held_out:
        raise ValueError(
            f"{tried} questions gave {len(rollouts)} demonstrations, of which {config.held_out} "
            "are held out; expected more: give more questions, a higher max_document_chars, "
            "max_turns or max_new_tokens, or a lower held_out"
        )
    return rollouts
