"""How far the policy has moved from a reference, estimated on the tokens it sampled.

All three estimators look at log-probabilities of sampled tokens only. As a penalty in the reward
their value counts, as a term of the loss their gradient does, and the two disagree: k1's own
gradient is zero on average and pulls nowhere, so k1 in the loss carries the gradient of k2, which
is that of the KL itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.llm.algorithms.registry import KLEstimator

# exp of more overflows no dtype but drowns every other token; the gradient goes on past it.
_MAX_LOG_RATIO = 10.0


def kl_estimate(logprobs_A: Tensor, ref_logprobs_A: Tensor, estimator: KLEstimator) -> Tensor:
    """[A] estimates of KL(policy || reference) at each sampled token, nats.

    k1 = log p - log r is unbiased and may be negative; k2 = k1^2 / 2 is biased, never negative;
    k3 = r/p - 1 - log(r/p) is both unbiased and never negative.

    Source: Schulman, "Approximating KL divergence" (2020).
    """
    log_ratio_A = ref_logprobs_A - logprobs_A
    if estimator == "k1":
        return -log_ratio_A
    if estimator == "k2":
        return log_ratio_A.square() / 2
    # Clamped in value alone: a clamp in the gradient would let go of the tokens furthest away.
    bounded_A = log_ratio_A + (log_ratio_A.clamp_max(_MAX_LOG_RATIO) - log_ratio_A).detach()
    return torch.expm1(bounded_A) - bounded_A


def kl_loss(logprobs_A: Tensor, ref_logprobs_A: Tensor, estimator: KLEstimator) -> Tensor:
    """[A] terms to *add* to a loss that is minimised; their descent leads to the reference.

    The value is the estimator's; the gradient too, save for k1, which has k2's.
    """
    values_A = kl_estimate(logprobs_A, ref_logprobs_A, estimator)
    if estimator != "k1":
        return values_A
    pull_A = kl_estimate(logprobs_A, ref_logprobs_A, "k2")
    return values_A.detach() + pull_A - pull_A.detach()
