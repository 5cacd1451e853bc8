"""The warm start: demonstrations, supervised training on them, a policy that knows the format.

RL from a model that never closes a tag learns nothing, for every episode scores 0. The policy that
comes out keeps its prompt in its configuration, where training finds it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from agents.llm.allocator import keep_freed_memory
from agents.llm.batch import Batch
from agents.llm.demonstration import encode_demonstration
from agents.llm.logprobs import action_logprobs
from agents.llm.paragraph_demonstrations import demonstrate_paragraphs
from agents.llm.policy import Policy, load_policy
from agents.llm.segments import Rollout, Source
from agents.llm.supervised import train_supervised
from agents.llm.warm_start_config import WarmStartConfig
from zs_env.building import build_engine, build_questions
from zs_env.episode import EpisodeConfig, Limits
from zs_env.prompt import PromptTemplate
from zs_env.transcript_file import append_transcripts


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

    Raises:
        FileExistsError: if `config.output` holds something already.
        ValueError: if the questions give no demonstrations, or a setting is wrong.
        FloatingPointError: if a loss or gradient was not finite.
    """
    if config.output.exists() and any(config.output.iterdir()):
        raise FileExistsError(f"{config.output} is not empty; choose another --output")
    keep_freed_memory()
    torch.set_num_threads(config.threads or len(os.sched_getaffinity(0)))
    torch.manual_seed(config.seed)
    cuda = config.device == "auto" and torch.cuda.is_available()
    device = "cuda" if cuda else config.device.replace("auto", "cpu")
    policy = load_policy(config.policy, dtype=config.dtype, device=device)
    rollouts = _demonstrations(config, policy)
    held_out, trained_on = rollouts[: config.held_out], rollouts[config.held_out :]
    before = supervised_loss(policy, held_out, config)
    started = time.perf_counter()
    losses = train_supervised(
        policy.model,
        trained_on,
        epochs=config.epochs,
        lr=config.learning_rate,
        warmup_steps=config.warmup_steps,
        tokens_per_batch=config.tokens_per_batch,
        max_tokens_per_micro_batch=config.tokens_per_micro_batch,
        max_grad_norm=config.max_grad_norm,
        autocast=config.autocast,
        seed=config.seed,
        on_step=on_step,
    )
    seconds = time.perf_counter() - started
    after = supervised_loss(policy, held_out, config)
    policy.model.config.zerosearch_prompt = config.prompt
    config.output.mkdir(parents=True, exist_ok=True)
    policy.save(config.output)
    append_transcripts(
        config.output / "demonstrations.jsonl", [rollout.transcript for rollout in trained_on]
    )
    return WarmStartResult(
        demonstrations=len(trained_on),
        tokens=sum(len(rollout.token_ids) for rollout in trained_on),
        steps=len(losses),
        loss_before=before,
        loss_after=after,
        train_seconds=seconds,
        policy=str(config.output),
    )


def supervised_loss(policy: Policy, rollouts: Sequence[Rollout], config: WarmStartConfig) -> float:
    """Mean cross-entropy of what the policy should have written, nats per token."""
    batch = Batch.from_rollouts(rollouts)
    device = policy.model.device
    total = 0.0
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=config.autocast):
        for micro_batch in batch.micro_batches(config.tokens_per_micro_batch):
            total -= float(action_logprobs(policy.model, micro_batch.to(device)).logprobs_A.sum())
    return total / batch.num_tokens


def _demonstrations(config: WarmStartConfig, policy: Policy) -> list[Rollout]:
    """Held-out demonstrations first, then those to train on; no two of one question."""
    wanted = config.held_out + config.episodes
    rollouts: list[Rollout] = []
    tried = 0
    for rollout in _play(config, policy):
        tried += 1
        if rollout is not None and _longest_turn(rollout) <= config.max_new_tokens:
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


def _play(config: WarmStartConfig, policy: Policy) -> Iterator[Rollout | None]:
    """One demonstration per question, None where the teacher failed, in random order."""
    questions = build_questions(config.question_spec())
    engine = build_engine({"kind": "paragraphs"}, questions)
    rules = EpisodeConfig(
        max_turns=config.max_turns,
        num_documents=config.num_documents,
        prompt=PromptTemplate(prompt=config.prompt),
        limits=Limits(max_document_chars=config.max_document_chars),
    )
    rng = random.Random(f"demonstrations {config.seed}")
    for index in rng.sample(range(len(questions)), len(questions)):
        question = questions[index]
        if not any(paragraph.is_gold for paragraph in question.paragraphs):
            continue
        noise = rng.uniform(0.0, config.max_noise)
        transcript = demonstrate_paragraphs(
            question, engine, config=rules, noise_probability=noise, rng=rng
        )
        yield None if transcript is None else encode_demonstration(policy, transcript)


def _longest_turn(rollout: Rollout) -> int:
    return max(len(s.token_ids) for s in rollout.segments if s.source is Source.POLICY)
