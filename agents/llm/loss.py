"""Losses of single tokens, and what each token weighs in an optimizer step.

Weights are counted once over the whole step, so how a step is cut into micro-batches cannot show
in its gradient.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

LossMean = Literal["token", "sequence"]

# exp(20) is 5e8: far beyond any clip range, far below overflow in float32.
_MAX_LOG_RATIO = 20.0


class PolicyLoss(NamedTuple):
    """[A] losses; ratios new/old and where the clip stopped the gradient, both detached."""

    losses_A: Tensor
    ratios_A: Tensor
    clipped_A: Tensor


def token_weights(counts_B: Tensor, mean: LossMean) -> Tensor:
    """[A] weights of the action tokens of one optimizer step; they sum to 1.

    Args:
        counts_B: [B] action tokens of each rollout of the step.
        mean: "token" gives every token the same weight; "sequence" every rollout.
    """
    counts_A = torch.repeat_interleave(counts_B, counts_B).double()
    if mean == "token":
        return torch.full_like(counts_A, 1.0) / max(1, len(counts_A))
    return 1.0 / (counts_A * max(1, len(counts_B)))


def clipped_policy_loss(
    logprobs_A: Tensor,
    old_logprobs_A: Tensor,
    advantages_A: Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> PolicyLoss:
    """PPO's pessimistic surrogate: no reward for leaving [1 - clip_low, 1 + clip_high].

    Source: arXiv:1707.06347; two bounds: DAPO (arXiv:2503.14476).
    """
    log_ratios_A = (logprobs_A - old_logprobs_A).clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)
    ratios_A = log_ratios_A.exp()
    free_A = ratios_A * advantages_A
    bounded_A = ratios_A.clamp(1 - clip_low, 1 + clip_high) * advantages_A
    return PolicyLoss(
        losses_A=-torch.minimum(free_A, bounded_A),
        ratios_A=ratios_A.detach(),
        clipped_A=(bounded_A < free_A).detach(),
    )


def clipped_value_loss(
    values_A: Tensor, old_values_A: Tensor, returns_A: Tensor, *, value_clip: float
) -> Tensor:
    """[A] half squared errors of the critic, the worse of free and within value_clip of the old.

    Source: PPO's reference implementation; arXiv:2005.12729 discusses it.
    """
    bounded_A = old_values_A + (values_A - old_values_A).clamp(-value_clip, value_clip)
    return torch.maximum((values_A - returns_A) ** 2, (bounded_A - returns_A) ** 2) / 2
