"""Losses and KL terms of single tokens, and the weights of tokens in an optimizer step.

Weights are computed over the whole step, so the gradient does not depend on the micro-batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from agents.llm.algorithms.registry import (
    Clip,
    ImportanceSamplingName,
    KLEstimator,
    LossAggregation,
    PolicyLossName,
)
from agents.llm.algorithms.segment_ops import rows_of, sum_by_rollout

# exp(20) is 5e8: far beyond any clip range, far below overflow in float32.
_MAX_LOG_RATIO = 20.0
# Larger than the logarithm of any sensible limit of importance weights.
_MAX_IMPORTANCE_LOG_RATIO = 60.0
# Beyond this ratio of reference to policy, k3 continues as a straight line: its gradient is at most
# this, and one token does not dominate.
_MAX_KL_RATIO = 32.0

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


def importance_weights(
    log_ratios_A: Tensor, counts_B: Tensor, name: ImportanceSamplingName, *, limit: float
) -> Tensor:
    """[A] weights of the token losses that correct for a sampler other than the policy.

    The sampler may compute in another precision or use older weights. The weights are bounded,
    because the ratios of long rollouts are not.

    Args:
        log_ratios_A: [A] log-probability under the learner minus that under the sampler, nats.
        counts_B: [B] action tokens of each rollout.
        name: "token_*" weights each token by its own ratio (biased, low variance); "sequence_*"
            weights all tokens of a rollout by the product of their ratios (unbiased, high
            variance). "*_truncate" caps weights at the limit; "*_mask" sets larger ones to 0.
        limit: largest weight.

    Source: truncated importance sampling (Ionides, 2008), per token or per rollout.
    """
    if name == "none":
        return torch.ones_like(log_ratios_A)
    if name.startswith("sequence"):
        log_ratios_A = sum_by_rollout(log_ratios_A, counts_B)[rows_of(counts_B)]
    ratios_A = log_ratios_A.clamp_max(_MAX_IMPORTANCE_LOG_RATIO).exp()
    if name.endswith("mask"):
        return ratios_A.where(ratios_A <= limit, 0.0)
    return ratios_A.clamp_max(limit)


def importance_metrics(log_ratios_A: Tensor, weights_A: Tensor) -> dict[str, float]:
    """Metrics of the difference between sampler and learner.

    `sampler_ess` is the effective sample size as a fraction of the tokens; `sampler_k1` and
    `sampler_k3` estimate KL(sampler || learner) in nats per token.
    """
    ratios_A = log_ratios_A.clamp_max(_MAX_IMPORTANCE_LOG_RATIO).exp()
    total, squares = weights_A.sum(), weights_A.square().sum()
    return {
        "sampler_ratio_mean": float(ratios_A.mean()),
        "sampler_ratio_max": float(ratios_A.max()),
        "sampler_ess": float(total.square() / (squares * len(weights_A)).clamp_min(1e-300)),
        "sampler_k1": float(-log_ratios_A.mean()),
        "sampler_k3": float((ratios_A - 1 - log_ratios_A).mean()),
        "sampler_masked": float((weights_A == 0).double().mean()),
    }


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


def kl_estimate(logprobs_A: Tensor, ref_logprobs_A: Tensor, estimator: KLEstimator) -> Tensor:
    """[A] estimates of KL(policy || reference) at each sampled token, nats.

    k1 = log p - log r is unbiased and may be negative; k2 = k1^2 / 2 is biased, never negative;
    k3 = r/p - 1 - log(r/p) is unbiased and never negative; above r/p = 32 it is continued by its
    tangent, so that its gradient is bounded.

    Source: Schulman, "Approximating KL divergence" (2020).
    """
    log_ratio_A = ref_logprobs_A - logprobs_A
    if estimator == "k1":
        return -log_ratio_A
    if estimator == "k2":
        return log_ratio_A.square() / 2
    # Tokens that are further away keep their pull, so the excess is linear and not cut off.
    bounded_A = log_ratio_A.clamp_max(math.log(_MAX_KL_RATIO))
    excess_A = log_ratio_A - bounded_A
    return torch.expm1(bounded_A) - bounded_A + (_MAX_KL_RATIO - 1) * excess_A


def kl_loss(logprobs_A: Tensor, ref_logprobs_A: Tensor, estimator: KLEstimator) -> Tensor:
    """[A] KL terms to add to a loss that is minimized.

    Value and gradient are those of the estimator, except that k1 has the gradient of k2: its own
    has the expectation zero, that of k2 the gradient of the KL.
    """
    values_A = kl_estimate(logprobs_A, ref_logprobs_A, estimator)
    if estimator != "k1":
        return values_A
    pull_A = kl_estimate(logprobs_A, ref_logprobs_A, "k2")
    return values_A.detach() + pull_A - pull_A.detach()
