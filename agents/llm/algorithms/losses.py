"""Losses of single tokens, and the weight of each token in an optimizer step.

Weights are computed over the whole step, so the gradient does not depend on the micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from agents.llm.algorithms.registry import Clip, LossAggregation, PolicyLossName

# exp(20) is 5e8: far beyond any clip range, far below overflow in float32.
_MAX_LOG_RATIO = 20.0


# [A] losses; [A] ratios new/old and [A] whether the clip is active, both detached.
PolicyLoss = tuple[Tensor, Tensor, Tensor]


def token_weights(counts_B: Tensor, aggregation: LossAggregation, *, divisor: int = 1) -> Tensor:
    """[A] weights of the action tokens of one optimizer step.

    Args:
        counts_B: [B] number of action tokens of each rollout of the step.
        aggregation: "token" weights all tokens equally (DAPO); "sequence" weights all rollouts
            equally (GRPO as published); both sum to 1. "constant" gives every token the weight
            1 / (B * divisor), independent of the lengths (Dr. GRPO, arXiv:2503.20783).
        divisor: for "constant": the largest number of action tokens of a rollout.
    """
    counts_A = torch.repeat_interleave(counts_B, counts_B).double()
    num_rollouts = max(1, len(counts_B))
    if aggregation == "token":
        return torch.full_like(counts_A, 1.0) / max(1, len(counts_A))
    if aggregation == "constant":
        return torch.full_like(counts_A, 1.0 / (num_rollouts * divisor))
    return 1.0 / (counts_A * num_rollouts)


def clipped_loss(
    logprobs_A: Tensor, old_logprobs_A: Tensor, advantages_A: Tensor, rows_A: Tensor, clip: Clip
) -> PolicyLoss:
    """The clipped surrogate of PPO, with ratio bounds [1 - low, 1 + high].

    Source: arXiv:1707.06347; two bounds: DAPO (arXiv:2503.14476).
    """
    ratios_A = _bounded(logprobs_A - old_logprobs_A).exp()
    return _surrogate(ratios_A, advantages_A, clip)


def gspo_loss(
    logprobs_A: Tensor, old_logprobs_A: Tensor, advantages_A: Tensor, rows_A: Tensor, clip: Clip
) -> PolicyLoss:
    """The clipped surrogate with one ratio per rollout: the geometric mean of its token ratios.

    This is the token form of the paper: each token keeps its own advantage. It equals the sequence
    form if all tokens of a rollout have the same advantage.

    Source: GSPO (arXiv:2507.18071), eq. 14.
    """
    log_ratios_A = logprobs_A - old_logprobs_A
    sums_B = log_ratios_A.new_zeros(int(rows_A.max()) + 1 if len(rows_A) else 0)
    means_B = sums_B.index_add(0, rows_A, log_ratios_A.detach()) / torch.bincount(
        rows_A, minlength=len(sums_B)
    ).clamp_min(1)
    # The value is that of the rollout, the gradient that of the token.
    ratios_A = _bounded(means_B[rows_A] + logprobs_A - logprobs_A.detach()).exp()
    return _surrogate(ratios_A, advantages_A, clip)


def cispo_loss(
    logprobs_A: Tensor, old_logprobs_A: Tensor, advantages_A: Tensor, rows_A: Tensor, clip: Clip
) -> PolicyLoss:
    """REINFORCE weighted by the bounded, detached ratio: every token keeps a gradient.

    Source: MiniMax-M1 (arXiv:2506.13585), eq. 4; there is no lower bound if low >= 1.
    """
    ratios_A = _bounded(logprobs_A - old_logprobs_A).exp().detach()
    weights_A = ratios_A.clamp(1 - clip.low, 1 + clip.high)
    return -weights_A * advantages_A * logprobs_A, ratios_A, weights_A != ratios_A


def nll_loss(
    logprobs_A: Tensor, old_logprobs_A: Tensor, advantages_A: Tensor, rows_A: Tensor, clip: Clip
) -> PolicyLoss:
    """Cross-entropy of the tokens, weighted by the advantage; old log-probabilities are unused."""
    ones_A = torch.ones_like(logprobs_A)
    return -advantages_A * logprobs_A, ones_A, torch.zeros_like(ones_A)


# Arguments, all [A] but the last: new and old log-probabilities, advantages, rollout in the pass.
PolicyLossFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Clip], PolicyLoss]
POLICY_LOSSES: Mapping[PolicyLossName, PolicyLossFunction] = {
    "clip": clipped_loss,
    "gspo": gspo_loss,
    "cispo": cispo_loss,
    "nll": nll_loss,
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
    return losses_A, ratios_A.detach(), clipped_A.detach()


def _bounded(log_ratios_A: Tensor) -> Tensor:
    return log_ratios_A.clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)


def clipped_value_loss(
    values_A: Tensor, old_values_A: Tensor, returns_A: Tensor, *, value_clip: float
) -> Tensor:
    """[A] half squared errors of the critic: the larger of the unclipped and the clipped one.

    Source: PPO's reference implementation; arXiv:2005.12729 discusses it.
    """
    bounded_A = old_values_A + (values_A - old_values_A).clamp(-value_clip, value_clip)
    return torch.maximum((values_A - returns_A) ** 2, (bounded_A - returns_A) ** 2) / 2
