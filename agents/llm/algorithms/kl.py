"""Estimators of KL(policy || reference) from the log-probabilities of sampled tokens.

A reward penalty uses the value of an estimator, a loss term its gradient. The expected
gradient of k1 is zero, so k1 in the loss uses the gradient of k2, which is that of the KL.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.llm.algorithms.registry import KLEstimator

# Bounds the value of a token, so that one token does not dominate; its gradient is not bounded.
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
    # Clamp the value only: clamped gradients would release the tokens that are furthest away.
    bounded_A = log_ratio_A + (log_ratio_A.clamp_max(_MAX_LOG_RATIO) - log_ratio_A).detach()
    return torch.expm1(bounded_A) - bounded_A


def kl_loss(logprobs_A: Tensor, ref_logprobs_A: Tensor, estimator: KLEstimator) -> Tensor:
    """[A] KL terms to add to a loss that is minimized.

    Value and gradient are those of the estimator, except that k1 has the gradient of k2.
    """
    values_A = kl_estimate(logprobs_A, ref_logprobs_A, estimator)
    if estimator != "k1":
        return values_A
    pull_A = kl_estimate(logprobs_A, ref_logprobs_A, "k2")
    return values_A.detach() + pull_A - pull_A.detach()
