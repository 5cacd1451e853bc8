"""The optimizer and its learning rate as a function of the step: no scheduler, no state of one."""

from __future__ import annotations

import math

import torch
from torch import nn

from agents.llm.learner.config import OptimizerConfig


def learning_rate_factor(config: OptimizerConfig, update: int, total_updates: int) -> float:
    """The rate of a 0-based update as a fraction of its peak, in [0, 1].

    After `total_updates` it stays where it ended.
    """
    if update < config.warmup_steps:
        return (update + 1) / config.warmup_steps
    if config.lr_schedule == "constant":
        return 1.0
    span = max(1, total_updates - config.warmup_steps)
    progress = min(1.0, (update - config.warmup_steps) / span)
    return (
        1 - progress if config.lr_schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    )


def make_optimizer(
    module: nn.Module, config: OptimizerConfig, *, lr: float | None = None
) -> torch.optim.AdamW:
    """AdamW on what a module trains; `lr` where it is not the policy's."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        parameters,
        lr=config.learning_rate if lr is None else lr,
        weight_decay=config.weight_decay,
        fused=True,
    )
