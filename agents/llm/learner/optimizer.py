"""The optimizer and its learning rate as a function of the step: no scheduler, no state of one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How a gradient becomes a step.

    Attributes:
        lr: peak learning rate of AdamW.
        critic_lr: the critic's own, where there is one.
        betas: AdamW's decay rates.
        eps: AdamW's.
        weight_decay: AdamW's, on every parameter.
        max_grad_norm: the gradient is scaled down to this norm.
        warmup_updates: updates over which the rate rises linearly to its peak.
        schedule: what it does afterwards.
        final_lr_fraction: where linear and cosine end, as a fraction of the peak.
        max_tokens_per_micro_batch: positions (rows x longest row) of one forward pass; changes
            memory and speed, never the gradient.
        share_prompts: read each group's prompt once and pad nothing; pays with a large model and
            long prompts, costs with a small model and short ones; the gradient is the same.
        gradient_checkpointing: keep what enters each layer only and compute the rest anew in the
            backward pass: much less memory, one more forward pass, the same gradient.
        compile_layers: run each layer by torch.compile: on a GPU many small kernels become few; the
            first pass compiles for a minute or two, and rounding differs.
        autocast: compute in bfloat16 with weights in their own precision.
    """

    lr: float = 1e-6
    critic_lr: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    warmup_updates: int = 0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    final_lr_fraction: float = 0.0
    max_tokens_per_micro_batch: int = 4096
    share_prompts: bool = False
    gradient_checkpointing: bool = False
    compile_layers: bool = False
    autocast: bool = False

    def __post_init__(self) -> None:
        for name in ("lr", "critic_lr", "max_grad_norm", "max_tokens_per_micro_batch"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number above 0")


def learning_rate_factor(config: OptimizerConfig, update: int, total_updates: int) -> float:
    """The rate of a 0-based update as a fraction of its peak, in [0, 1].

    After `total_updates` it stays where it ended.
    """
    if update < config.warmup_updates:
        return (update + 1) / config.warmup_updates
    if config.schedule == "constant":
        return 1.0
    span = max(1, total_updates - config.warmup_updates)
    progress = min(1.0, (update - config.warmup_updates) / span)
    left = 1 - progress if config.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return config.final_lr_fraction + (1 - config.final_lr_fraction) * left


def make_optimizer(
    module: nn.Module, config: OptimizerConfig, *, lr: float | None = None
) -> torch.optim.AdamW:
    """AdamW on what a module trains; `lr` where it is not the policy's."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        parameters,
        lr=config.lr if lr is None else lr,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )
