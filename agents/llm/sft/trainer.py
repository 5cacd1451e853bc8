"""Supervised training on demonstrations: how a policy gets its format before RL.

The cross-entropy is taken on what the policy wrote and on nothing else, by the same batches and
the same head as RL, so a document is no more learnt here than there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from agents.llm.learner.batch import Batch
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.logprobs import action_logprobs
from agents.llm.learner.optimizer import learning_rate_factor, make_optimizer
from agents.llm.rollout.types import Rollout


def train_supervised(
    model: Any,
    rollouts: Sequence[Rollout],
    *,
    epochs: float = 1.0,
    steps: int | None = None,
    lr: float = 1e-3,
    muon_lr: float | None = None,
    warmup_steps: int = 20,
    schedule: Literal["constant", "linear", "cosine"] = "cosine",
    weight_decay: float = 0.0,
    tokens_per_batch: int = 16384,
    tokens_per_micro_batch: int = 4096,
    max_grad_norm: float = 1.0,
    autocast: bool = False,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Minimise the mean cross-entropy of policy tokens; changes `model` in place.

    Args:
        model: a Hugging Face causal language model; its mode (train or eval) is left alone.
        rollouts: demonstrations; their logprobs, rewards and transcripts are not looked at.
        epochs: passes over the rollouts, where `steps` is None.
        steps: optimizer steps, from as many passes as they take.
        lr: peak learning rate of AdamW.
        muon_lr: peak rate of Muon, which then takes the matrices inside the layers off AdamW: a
            small model from scratch learns faster so. None is AdamW alone.
        warmup_steps: steps over which the rate rises linearly.
        schedule: what the rate does after them.
        weight_decay: AdamW's.
        tokens_per_batch: tokens (read, not only written) of one optimizer step, at least one
            rollout.
        tokens_per_micro_batch: positions of one forward pass.
        max_grad_norm: the gradient is scaled down to it.
        autocast: compute in bfloat16, weights in their own precision.
        seed: of the order of the rollouts.
        on_step: called with the 0-based step and its loss (nats per policy token).

    Returns:
        The loss of every step.

    Raises:
        ValueError: where there is nothing to train on.
        FloatingPointError: where a loss or gradient is not finite.
    """
    if not rollouts:
        raise ValueError("no rollouts to train on; expected at least one demonstration")
    batches = _plan(rollouts, epochs=epochs, steps=steps, tokens=tokens_per_batch, seed=seed)
    config = OptimizerConfig(
        learning_rate=lr,
        warmup_steps=warmup_steps,
        lr_schedule=schedule,
        weight_decay=weight_decay,
        max_grad_norm=max_grad_norm,
        tokens_per_micro_batch=tokens_per_micro_batch,
        autocast=autocast,
    )
    optimizers = _make_optimizers(model, config, muon_lr)
    peaks = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    losses = []
    for step, rows in enumerate(batches):
        factor = learning_rate_factor(config, step, len(batches))
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * factor
        loss = _step(model, optimizers, Batch.from_rollouts(rollouts[i] for i in rows), config)
        losses.append(loss)
        if on_step is not None:
            on_step(step, loss)
    return losses


def _make_optimizers(
    model: Any, config: OptimizerConfig, muon_lr: float | None
) -> list[torch.optim.Optimizer]:
    if muon_lr is None:
        return [make_optimizer(model, config)]
    embeddings = {id(p) for p in model.get_input_embeddings().parameters()}
    embeddings |= {id(p) for p in model.get_output_embeddings().parameters()}
    matrices = [p for p in model.parameters() if p.ndim == 2 and id(p) not in embeddings]
    taken = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in taken]
    return [
        torch.optim.Muon(matrices, lr=muon_lr, weight_decay=config.weight_decay),
        torch.optim.AdamW(others, lr=config.learning_rate, weight_decay=config.weight_decay),
    ]


def _step(
    model: Any, optimizers: Sequence[torch.optim.Optimizer], batch: Batch, config: OptimizerConfig
) -> float:
    """One step of every optimizer on a batch; returns its loss."""
    model.zero_grad(set_to_none=True)
    device = next(model.parameters()).device
    total = torch.zeros((), dtype=torch.float64)
    for micro_batch in batch.micro_batches(config.tokens_per_micro_batch):
        with torch.autocast(device.type, torch.bfloat16, enabled=config.autocast):
            logprobs_A = action_logprobs(model, micro_batch.to(device)).logprobs_A
        loss = -logprobs_A.sum() / batch.num_tokens
        loss.backward()
        total += loss.detach().cpu()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    if not (total.isfinite() and norm.isfinite()):
        raise FloatingPointError(
            f"supervised loss {float(total)} with gradient norm {float(norm)}; expected finite "
            "numbers: lower lr, or turn autocast off"
        )
    for optimizer in optimizers:
        optimizer.step()
    return float(total)


def _plan(
    rollouts: Sequence[Rollout], *, epochs: float, steps: int | None, tokens: int, seed: int
) -> list[list[int]]:
    """The rollouts of each step: a fresh random order every epoch, none twice in one step."""
    generator = torch.Generator().manual_seed(seed)
    lengths = [len(rollout.token_ids) for rollout in rollouts]
    wanted = round(epochs * len(rollouts)) if steps is None else None
    plan: list[list[int]] = []
    batch: list[int] = []
    size = taken = 0
    while True:
        for row in torch.randperm(len(rollouts), generator=generator).tolist():
            if batch and (size + lengths[row] > tokens or taken == wanted or row in batch):
                plan.append(batch)
                batch, size = [], 0
            if taken == wanted or len(plan) == steps:
                return plan
            batch.append(row)
            size += lengths[row]
            taken += 1
