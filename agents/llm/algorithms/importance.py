"""Weights for tokens that another policy sampled than the one that learns.

A fast sampler rounds otherwise, or is some updates behind. Each token's loss is weighted with the
probability ratio learner/sampler as it was before the update's first step, so that the gradient is
the learner's own; the weight is bounded, because ratios of long rollouts have no bound.

Source: truncated importance sampling (Ionides, 2008), by token, by rollout, or by leaving out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.llm.algorithms.registry import ImportanceSamplingName
from agents.llm.algorithms.segment_ops import rows_of, sum_by_rollout

# exp of more than this overflows; every limit lies far below.
_MAX_LOG_RATIO = 60.0


def importance_weights(
    log_ratios_A: Tensor, counts_B: Tensor, name: ImportanceSamplingName, *, limit: float
) -> Tensor:
    """[A] weights of the tokens' losses.

    Args:
        log_ratios_A: [A] log-probability under the learner minus that under the sampler, nats.
        counts_B: [B] action tokens of each rollout.
        name: "token_*" weighs each token with its own ratio, which is biased and steady;
            "sequence_*" all tokens of a rollout with their ratios' product, which is unbiased and
            wild. "*_truncate" caps a weight at the limit; "*_mask" leaves out what is beyond it.
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
    """How far sampler and learner are apart.

    `sampler_ess` is the effective sample size as a share of the tokens, `sampler_k1` and
    `sampler_k3` estimate KL(sampler || learner) in nats a token.
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
