"""Importance sampling: corrects for a sampler that differs from the policy in training.

The sampler may compute in another precision or use older weights. The loss of each token is
weighted by the probability ratio learner/sampler before the first step of the update. The weights
are bounded, because the ratios of long rollouts are not.

Source: truncated importance sampling (Ionides, 2008), per token or per rollout.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.llm.algorithms.registry import ImportanceSamplingName
from agents.llm.algorithms.segment_ops import rows_of, sum_by_rollout

# Bounds exp(); larger than the logarithm of any sensible limit.
_MAX_LOG_RATIO = 60.0


def importance_weights(
    log_ratios_A: Tensor, counts_B: Tensor, name: ImportanceSamplingName, *, limit: float
) -> Tensor:
    """[A] importance weights of the token losses.

    Args:
        log_ratios_A: [A] log-probability under the learner minus that under the sampler, nats.
        counts_B: [B] action tokens of each rollout.
        name: "token_*" weights each token by its own ratio (biased, low variance); "sequence_*"
            weights all tokens of a rollout by the product of their ratios (unbiased, high
            variance). "*_truncate" caps weights at the limit; "*_mask" sets larger ones to 0.
        limit: largest weight.
    """
    if name == "none":
        return torch.ones_like(log_ratios_A)
    if name.startswith("sequence"):
        log_ratios_A = sum_by_rollout(log_ratios_A, counts_B)[rows_of(counts_B)]
    ratios_A = log_ratios_A.clamp_max(_MAX_LOG_RATIO).exp()
    if name.endswith("mask"):
        return ratios_A.where(ratios_A <= limit, 0.0)
    return ratios_A.clamp_max(limit)


def importance_metrics(log_ratios_A: Tensor, weights_A: Tensor) -> dict[str, float]:
    """Metrics of the difference between sampler and learner.

    `sampler_ess` is the effective sample size as a fraction of the tokens; `sampler_k1` and
    `sampler_k3` estimate KL(sampler || learner) in nats per token.
    """
    ratios_A = log_ratios_A.clamp_max(_MAX_LOG_RATIO).exp()
    total, squares = weights_A.sum(), weights_A.square().sum()
    return {
        "sampler_ratio_mean": float(ratios_A.mean()),
        "sampler_ratio_max": float(ratios_A.max()),
        "sampler_ess": float(total.square() / (squares * len(weights_A)).clamp_min(1e-300)),
        "sampler_k1": float(-log_ratios_A.mean()),
        "sampler_k3": float((ratios_A - 1 - log_ratios_A).mean()),
        "sampler_masked": float((weights_A == 0).double().mean()),
    }
