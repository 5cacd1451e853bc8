"""Optimizers, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from agents.llm.learner.config import OptimizerConfig


def learning_rate_factor(config: OptimizerConfig, update: int, total_updates: int) -> float:
    """Return the learning rate of a 0-based update as a fraction of its peak, in [0, 1].

    It stays constant after `total_updates`.
    """
    if update < config.warmup_steps:
        return (update + 1) / config.warmup_steps
    if config.lr_schedule == "constant":
        return 1.0
    span = max(1, total_updates - config.warmup_steps)
    progress = min(1.0, (update - config.warmup_steps) / span)
    if config.lr_schedule == "linear":
        return 1 - progress
    return (1 + math.cos(math.pi * progress)) / 2


def adamw(weights: Iterable[nn.Parameter], config: OptimizerConfig, lr: float) -> torch.optim.AdamW:
    """Make AdamW, with peak learning rate `lr`, over the weights that require gradients."""
    trained = [weight for weight in weights if weight.requires_grad]
    return torch.optim.AdamW(trained, lr=lr, weight_decay=config.weight_decay, fused=True)


def policy_optimizers(
    model: Any, config: OptimizerConfig, muon_learning_rate: float | None
) -> dict[str, torch.optim.Optimizer]:
    """Make AdamW ("policy") over a model's trained weights.

    With `muon_learning_rate`, Muon ("muon") takes the matrices that are not embeddings.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if muon_learning_rate is None:
        return {"policy": adamw(weights, config, config.learning_rate)}
    embeddings = (model.get_input_embeddings(), model.get_output_embeddings())
    excluded = {id(weight) for module in embeddings for weight in module.parameters()}
    matrices = [weight for weight in weights if weight.ndim == 2 and id(weight) not in excluded]
    taken = {id(weight) for weight in matrices}
    others = [weight for weight in weights if id(weight) not in taken]
    return {
        "policy": adamw(others, config, config.learning_rate),
        "muon": torch.optim.Muon(matrices, lr=muon_learning_rate, weight_decay=config.weight_decay),
    }
