"""The parts of `model_scale`: each measures one thing about one model, and gives rows.

Every part compares results before it looks at times, and raises ParityError where they differ.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.learner.batch import Batch, MicroBatch
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.experience import score
from agents.llm.learner.learner import Learner
from agents.llm.learner.models import LogprobModel
from benchmarks.peers.peer_venv import run_peer
from benchmarks.report import Row
from benchmarks.scale.job import Job, Made, ParityError
from benchmarks.scale.update_flops import update_flops
from benchmarks.scale.workload import play, play_with_generate, share_written_alike
from benchmarks.workers.rollout_files import from_json

_TRL_SCRIPT = Path(__file__).parents[1] / "peers" / "trl_update.py"
_ALGORITHM: dict[str, Any] = {
    "algorithm": "dr_grpo",
    "loss_aggregation": "token",
    "recompute_logprobs": False,
}
VARIANTS: dict[str, dict[str, bool]] = {
    "plain": {},
    "gradient_checkpointing": {"gradient_checkpointing": True},
    "compile_layers": {"compile_layers": True},
}


def rollout(job: Job) -> Iterator[Row]:
    """Tokens that are written in a second, beside transformers' `generate`."""
    exact = share_written_alike(job.policy(), job.episodes)
    job.check("the share of ids that generate() writes as well", exact, 1.0, 0.05)
    policy, device = job.policy(job.precision), torch.device(job.device)
    play(policy, job.episodes)  # the first time kernels are chosen, and memory is taken
    seconds, written = play(policy, job.episodes)
    batch = Batch.from_groups(from_json([written]))
    scores_A = score(
        batch,
        lambda rows: LogprobModel(policy.model)(rows.to(device))[0],
        job.tokens_per_pass,
    )
    gap = float((scores_A - batch.sampled_logprobs_A).abs().mean())
    job.check("the mean difference of sampled and learned log-probabilities", gap, 0.0)
    play_with_generate(policy, job.episodes)
    theirs = play_with_generate(policy, job.episodes)
    tokens = batch.num_tokens
    yield job.row("rollout beside generate()", tokens / seconds, tokens / theirs, "tokens/s")


def head(job: Job) -> Iterator[Row]:
    """A forward and backward pass with logits of action tokens only, beside all logits."""
    model, batch = job.policy().model, _batch(job)
    rows = batch.micro_batches(job.tokens_per_pass)[0].to(torch.device(job.device))
    found = [_passes(job, model, rows, scorer) for scorer in (_action_only, _from_all_logits)]
    (loss, norm, seconds, memory), (all_loss, all_norm, all_seconds, all_memory) = found
    job.check("the loss of action logits", loss, all_loss)
    job.check("the gradient's norm over that of all logits", norm / all_norm, 1.0)
    tokens = rows.token_ids_BT.numel()
    case = f"action-only head, {tokens:,} positions, beside all logits"
    yield job.row(f"{case}: pass", 1e3 * seconds, 1e3 * all_seconds, "ms")
    yield job.row(f"{case}: peak memory", memory / 1e9, all_memory / 1e9, "GB")


def update(job: Job, variant: str) -> Iterator[Row]:
    """Updates in one of the ways to make them: tokens of rollouts a second, MFU, memory."""
    settings = VARIANTS[variant]
    model, groups = job.policy().model, from_json(job.groups)
    learner = Learner(
        model,
        algorithm=AlgorithmConfig(**_ALGORITHM),
        optimizer=OptimizerConfig(
            learning_rate=1e-6,
            max_grad_norm=1e30,
            tokens_per_micro_batch=job.tokens_per_pass,
            autocast=job.autocast,
            **settings,
        ),
        total_updates=1 + job.updates,
    )
    job.forget_peak()
    report = learner.update(groups)
    if report.skipped:
        raise ParityError(f"{job.name}: the update was skipped: {report.reason}")
    norm = report.metrics["grad_norm"]
    if plain := job.made.get("plain"):
        job.check(f"the gradient's norm, {variant} over plain", norm / plain.norm, 1.0)
    seconds = job.median_seconds(lambda: learner.update(groups), job.updates)
    batch = Batch.from_groups(groups)
    tokens = _num_read(batch)
    made = Made(norm=norm, tokens_per_s=tokens / seconds, peak_bytes=job.peak_bytes())
    job.made[variant] = made
    yield job.row(f"update, {variant}", made.tokens_per_s, None, "tokens/s")
    if job.peak is not None:
        mfu = update_flops(model, batch) / seconds / job.peak
        yield job.row(f"update, {variant}: MFU", 100 * mfu, None, "%")
    yield job.row(f"update, {variant}: peak memory", made.peak_bytes / 1e9, None, "GB")


def trl_update(job: Job) -> Iterator[Row]:
    """TRL's GRPOTrainer on the same rollouts, in a process of its own, beside the plain update."""
    ours = job.made.get("plain")
    if job.trl_python is None or ours is None:
        missing = "no plain update to compare with" if ours is None else "no trl and datasets here"
        print(f"{job.name}: TRL is left out: {missing}", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as name:
        model, jobs = Path(name) / "model", Path(name) / "jobs.json"
        job.policy().save(model)
        jobs.write_text(json.dumps([_trl_job(job, model)]))
        job.forget_peak()
        results = run_peer(job.trl_python, _TRL_SCRIPT, str(jobs))
    if results is None:
        return
    (theirs,) = results
    job.check("the gradient's norm over TRL's", ours.norm / theirs["grad_norms"][0], 1.0)
    their_speed = _num_read(_batch(job)) / statistics.median(theirs["wall_s"][1:])
    yield job.row("update beside TRL's", ours.tokens_per_s, their_speed, "tokens/s")
    case = "update beside TRL's: peak memory"
    yield job.row(case, ours.peak_bytes / 1e9, theirs["peak_bytes"] / 1e9, "GB")


def with_trl() -> Path | None:
    """This Python where it has TRL."""
    found = all(find_spec(name) for name in ("trl", "datasets"))
    return Path(sys.executable) if found else None


def _trl_job(job: Job, model: Path) -> dict[str, Any]:
    rollouts = [one for group in job.groups for one in group]
    longest = max(len(one["prompt_ids"]) + len(one["completion_ids"]) for one in rollouts)
    rows = max(
        n
        for n in range(1, len(rollouts) + 1)
        if not len(rollouts) % n and (n == 1 or n * longest <= job.tokens_per_pass)
    )
    return {
        "model": str(model),
        "dtype": "float32",
        "groups": job.groups,
        "steps": 1 + job.updates,
        "config": {
            "use_cpu": job.device == "cpu",
            "bf16": job.autocast,
            "loss_type": "dapo",
            "scale_rewards": "none",
            "epsilon": 0.2,
            "epsilon_high": 0.28,
            "beta": 0.0,
            "learning_rate": 1e-6,
            "max_grad_norm": 1e30,
            "num_generations": job.episodes.members,
            "per_device_train_batch_size": rows,
            "gradient_accumulation_steps": len(rollouts) // rows,
            "max_completion_length": longest,
        },
    }


def _num_read(batch: Batch) -> int:
    """Tokens that a model reads of a batch, without padding."""
    return sum(len(ids) - 1 for ids in batch.token_ids)


def _batch(job: Job) -> Batch:
    return Batch.from_groups(from_json(job.groups))


def _action_only(model: Any, rows: MicroBatch) -> Tensor:
    return LogprobModel(model)(rows)[0]


def _from_all_logits(model: Any, rows: MicroBatch) -> Tensor:
    """As a trainer computes them that asks the model for its logits."""
    logits_BTV = model(input_ids=rows.token_ids_BT, use_cache=False).logits
    logprobs_NV = logits_BTV.flatten(0, 1).float().log_softmax(-1)
    return logprobs_NV[rows.predictors_A, rows.target_ids_A]


def _passes(
    job: Job, model: Any, rows: MicroBatch, scorer: Callable[[Any, MicroBatch], Tensor]
) -> tuple[float, float, float, float]:
    """Loss and gradient's norm of a pass, its seconds, and the most bytes that were held."""

    def compute() -> Tensor:
        model.zero_grad(set_to_none=True)
        with job.computing():
            loss = -scorer(model, rows).mean()
        loss.backward()
        return loss.detach()

    job.forget_peak()
    loss = float(compute())
    norm = float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]))
    return loss, norm, job.median_seconds(compute), job.peak_bytes()
