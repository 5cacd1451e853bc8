"""The warm start: demonstrations, supervised training on them, a policy that knows the format.

RL from a model that never closes a tag learns nothing, for every episode scores 0. The policy that
comes out keeps its prompt in its configuration, where training finds it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch

from agents.llm.learner.allocator import keep_freed_memory
from agents.llm.learner.config import OptimizerConfig
from agents.llm.policy.lora import has_adapter
from agents.llm.policy.policy import Policy, load_policy
from agents.llm.rollout.types import Rollout, Source
from agents.llm.sft.config import WarmStartConfig
from agents.llm.sft.demonstrations import encode_demonstration
from agents.llm.sft.supervised import mean_loss, plan_steps, supervised_learner, train_steps
from agents.llm.sft.teachers import play_demonstrations
from agents.llm.trainer.metrics import MetricsLog
from agents.llm.trainer.run_folder import write_json
from zs_env.transcripts.storage import append_transcripts

_RECORD = "warm_start.json"
_FREE_ON_RESUME = frozenset(("resume", "json", "output", "threads"))


@dataclass(frozen=True, kw_only=True)
class WarmStartResult:
    """What a warm start did.

    Attributes:
        demonstrations: episodes trained on.
        tokens: of these episodes, read and written.
        steps: optimizer steps.
        loss_before: nats per token of held-out demonstrations, before training.
        loss_after: the same after it.
        train_seconds: of the optimizer steps.
        policy: folder of the finished policy.
    """

    demonstrations: int
    tokens: int
    steps: int
    loss_before: float
    loss_after: float
    train_seconds: float
    policy: str


def warm_start(
    config: WarmStartConfig, on_step: Callable[[int, float], None] | None = None
) -> WarmStartResult:
    """Make demonstrations, train on them, and save policy and demonstrations in `config.output`.

    Args:
        config: all settings.
        on_step: called with the 0-based step and its loss, nats per token written.

    Returns:
        What it did; what an earlier one did where that lies in `config.output` and
        `config.resume` is on.

    Raises:
        FileExistsError: if `config.output` holds something else already.
        ValueError: if the questions give no demonstrations, a setting is wrong, or the warm start
            that lies there had others.
        FloatingPointError: if a loss or gradient was not finite.
    """
    if config.resume and (config.output / _RECORD).exists():
        return _recorded(config)
    if config.output.exists() and any(config.output.iterdir()):
        raise FileExistsError(f"{config.output} is not empty; choose another --output")
    keep_freed_memory()
    torch.set_num_threads(config.threads or len(os.sched_getaffinity(0)))
    torch.manual_seed(config.seed)
    cuda = config.device == "auto" and torch.cuda.is_available()
    device = "cuda" if cuda else config.device.replace("auto", "cpu")
    policy = load_policy(config.policy, dtype=config.dtype, device=device)
    if has_adapter(policy.model):
        raise ValueError(
            f"the policy {config.policy} is an adapter, expected whole weights; merge it: "
            "load_policy(FOLDER).save_merged(OTHER)"
        )
    rollouts = _demonstrations(config, policy)
    held_out, trained_on = rollouts[: config.held_out], rollouts[config.held_out :]
    steps = plan_steps(
        trained_on,
        tokens_per_step=config.tokens_per_batch,
        epochs=config.epochs,
        num_steps=config.steps or None,
        seed=config.seed,
    )
    learner = supervised_learner(
        policy.model,
        OptimizerConfig(
            learning_rate=config.learning_rate,
            warmup_steps=config.warmup_steps,
            lr_schedule="cosine",
            max_grad_norm=config.max_grad_norm,
            tokens_per_micro_batch=config.tokens_per_micro_batch,
            autocast=config.autocast,
        ),
        total_steps=len(steps),
    )
    before = mean_loss(learner, held_out)
    started = time.perf_counter()
    losses = train_steps(learner, trained_on, steps, on_step=on_step)
    seconds = time.perf_counter() - started
    after = mean_loss(learner, held_out)
    policy.model.config.zerosearch_prompt = config.prompt
    result = WarmStartResult(
        demonstrations=len(trained_on),
        tokens=sum(len(rollout.token_ids) for rollout in trained_on),
        steps=len(losses),
        loss_before=before,
        loss_after=after,
        train_seconds=seconds,
        policy=str(config.output),
    )
    _save(config, policy, trained_on, losses, result)
    return result


def _save(
    config: WarmStartConfig,
    policy: Policy,
    trained_on: Sequence[Rollout],
    losses: Sequence[float],
    result: WarmStartResult,
) -> None:
    """Fill the output folder, whole or not at all."""
    unfinished = config.output.with_name(f".writing-{config.output.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    policy.save(unfinished)
    transcripts = [rollout.transcript for rollout in trained_on]
    append_transcripts(unfinished / "demonstrations.jsonl", transcripts)
    metrics = MetricsLog(unfinished, tensorboard=False)
    for step, loss in enumerate(losses, start=1):
        metrics.write("warm_start", step, {"loss": loss})
    metrics.close()
    write_json(unfinished / _RECORD, {"settings": config.to_json(), "result": asdict(result)})
    unfinished.rename(config.output)


def _recorded(config: WarmStartConfig) -> WarmStartResult:
    """The warm start that lies in the output folder, if it is the one that is asked for."""
    record = json.loads((config.output / _RECORD).read_text(encoding="utf-8"))
    there = record["settings"]
    differing = [
        f"{name}={value!r} (there it is {there.get(name)!r})"
        for name, value in config.to_json().items()
        if name not in _FREE_ON_RESUME and value != there.get(name)
    ]
    if differing:
        raise ValueError(
            f"the warm start in {config.output} has other settings than asked for: "
            f"{', '.join(differing)}; leave those flags as they were, or choose another --output"
        )
    return WarmStartResult(**{**record["result"], "policy": str(config.output)})


def _demonstrations(config: WarmStartConfig, policy: Policy) -> list[Rollout]:
    """Held-out demonstrations first, then those to train on; no two of one question."""
    wanted = config.held_out + config.episodes
    rollouts: list[Rollout] = []
    tried = 0
    for transcript in play_demonstrations(config):
        tried += 1
        if transcript is not None:
            rollout = encode_demonstration(policy, transcript)
            if _longest_turn(rollout) <= config.max_new_tokens:
                rollouts.append(rollout)
        if len(rollouts) == wanted:
            break
    if len(rollouts) <= config.held_out:
        raise ValueError(
            f"{tried} questions gave {len(rollouts)} demonstrations, of which {config.held_out} "
            "are held out; expected more: give more questions, a higher max_document_chars, "
            "max_turns or max_new_tokens, or a lower held_out"
        )
    return rollouts


def _longest_turn(rollout: Rollout) -> int:
    return max(len(s.token_ids) for s in rollout.segments if s.source is Source.POLICY)
