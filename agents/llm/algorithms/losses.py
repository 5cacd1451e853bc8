"""Losses of single tokens, and what each token weighs in an optimizer step.

Weights are counted once over the whole step, so how a step is cut into micro-batches cannot show
in its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from agents.llm.algorithms.registry import Clip, LossAggregation, PolicyLossName

# exp(20) is 5e8: far beyond any clip range, far below overflow in float32.
_MAX_LOG_RATIO = 20.0


class PolicyLoss(NamedTuple):
    """[A] losses; ratios new/old and where the clip holds the gradient back, both detached."""

    losses_A: Tensor
    ratios_A: Tensor
    clipped_A: Tensor


def token_weights(counts_B: Tensor, mean: LossAggregation, *, divisor: int = 1) -> Tensor:
    """[A] weights of the action tokens of one optimizer step.

    Args:
        counts_B: [B] action tokens of each rollout of the step.
        mean: "token" gives every token the same weight (DAPO); "sequence" every rollout (GRPO as
            published); both sum to 1. "constant" gives every token 1 / (B * divisor), however
            many there are, so that long rollouts are not held back (Dr.GRPO, arXiv:2503.20783).
        divisor: of "constant": most action tokens that a rollout may have.
    """
    counts_A = torch.repeat_interleave(counts_B, counts_B).double()
    num_rollouts = max(1, len(counts_B))
    if mean == "token":
        return torch.full_like(counts_A, 1.0) / max(1, len(counts_A))
    if mean == "constant":
        return torch.full_like(counts_A, 1.0 / (num_rollouts * divisor))
    return 1.0 / (counts_A * num_rollouts)


def clipped_loss(
    logprobs_A: Tensor, old_logprobs_A: Tensor, advantages_A: Tensor, rows_A: Tensor, clip: Clip
) -> PolicyLoss:
    """PPO's pessimistic surrogate: no reward for leaving [1 - low, 1 + high].

    Source: arXiv:1707.06347; two bounds: DAPO (arXiv:2503.14476).
    """
    ratios_A = _bounded(logprobs_A - old_logprobs_A).exp()
    return _surrogate(ratios_A, advantages_A, clip)


def gspo_loss(
    logprobs_A: Tensor, old_logprobs_A: Tensor, advantages_A: Tensor, rows_A: Tensor, clip: Clip
) -> PolicyLoss:
    """The surrogate with one ratio a rollout: the geometric mean of its tokens' ratios.

    The gradient of each token's log-probability is weighted by its own advantage, which is the
    paper's token form; where a rollout has one advantage it is the sequence form too.

    Source: GSPO (arXiv:2507.18071), eq. 14.
    """
    log_ratios_A = logprobs_A - old_logprobs_A
    sums_B = log_ratios_A.new_zeros(int(rows_A.max()) + 1 if len(rows_A) else 0)
    means_B = sums_B.index_add(0, rows_A, log_ratios_A.detach()) / torch.bincount(
        rows_A, minlength=len(sums_B)
    ).clamp_min(1)
    # The value is the rollout's, the gradient the token's.
    ratios_A = _bounded(means_B[rows_A] + logprobs_A - logprobs_A.detach()).exp()
    return _surrogate(ratios_A, advantages_A, clip)


def cispo_loss(
    logprobs_A: Tensor, old_logprobs_A: Tensor, advantages_A: Tensor, rows_A: Tensor, clip: Clip
) -> PolicyLoss:
    """REINFORCE with a bounded ratio as a weight: no token's gradient is ever cut off.

    Source: MiniMax-M1 (arXiv:2506.13585), eq. 4; the lower bound does not bind where low >= 1.
    """
    ratios_A = _bounded(logprobs_A - old_logprobs_A).exp().detach()
    weights_A = ratios_A.clamp(1 - clip.low, 1 + clip.high)
    return PolicyLoss(
        losses_A=-weights_A * advantages_A * logprobs_A,
        ratios_A=ratios_A,
        clipped_A=weights_A != ratios_A,
    )


# [A] log-probabilities now, [A] before, [A] advantages, [A] rollout of each within the pass.
PolicyLossFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Clip], PolicyLoss]
POLICY_LOSSES: Mapping[PolicyLossName, PolicyLossFunction] = {
    "clip": clipped_loss,
    "gspo": gspo_loss,
    "cispo": cispo_loss,
}


def _surrogate(ratios_A: Tensor, advantages_A: Tensor, clip: Clip) -> PolicyLoss:
    free_A = ratios_A * advantages_A
    bounded_A = ratios_A.clamp(1 - clip.low, 1 + clip.high) * advantages_A
    losses_A = -torch.minimum(free_A, bounded_A)
    clipped_A = bounded_A < free_A
    if clip.dual is not None:
        worst_A = (-clip.dual * advantages_A).where(advantages_A < 0, torch.inf)
        clipped_A = clipped_A | (losses_A > worst_A)
        losses_A = torch.minimum(losses_A, worst_A)
    return PolicyLoss(losses_A, ratios_A.detach(), clipped_A.detach())


def _bounded(log_ratios_A: Tensor) -> Tensor:
    return log_ratios_A.clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)


def clipped_value_loss(
    values_A: Tensor, old_values_A: Tensor, returns_A: Tensor, *, value_clip: float
) -> Tensor:
    """[A] half squared errors of the critic, the worse of free and within value_clip of the old.

    Source: PPO's reference implementation; arXiv:2005.12729 discusses it.
    """
    bounded_A = old_values_A + (values_A - old_values_A).clamp(-value_clip, value_clip)
    return torch.maximum((values_A - returns_A) ** 2, (bounded_A - returns_A) ** 2) / 2
