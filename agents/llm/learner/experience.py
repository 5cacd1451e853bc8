"""Experience: per-token constants of an update, computed once before its first optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.llm.algorithms.advantages import ADVANTAGES, AdvantageInput, token_rewards
from agents.llm.algorithms.importance import importance_metrics, importance_weights
from agents.llm.algorithms.kl import kl_estimate
from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.algorithms.segment_ops import sum_by_rollout
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.learner.batch import Batch, MicroBatch

# [A] log-probabilities or values of a micro-batch's action tokens.
Scorer = Callable[[MicroBatch], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Experience:
    """Flat [A] tensors, float64, on the CPU.

    Attributes:
        old_logprobs_A: log-probabilities that probability ratios divide by.
        ref_logprobs_A: log-probabilities of the reference model; zeros without a KL.
        old_values_A: values of the critic before the update; zeros without a critic.
        advantages_A: advantages.
        returns_A: targets of the critic.
        importance_weights_A: importance-sampling weight of each token's policy loss.
        metrics: of sampler and learner; also `kl` per token, without kl_coef, if the KL is in
            the reward.
    """

    old_logprobs_A: Tensor
    ref_logprobs_A: Tensor
    old_values_A: Tensor
    advantages_A: Tensor
    returns_A: Tensor
    importance_weights_A: Tensor
    metrics: Mapping[str, float]

    def rows_with_advantage(self, batch: Batch) -> list[int]:
        """Rollouts with an advantage other than 0: no other has a gradient of a plain loss."""
        any_B = sum_by_rollout((self.advantages_A != 0).float(), batch.counts_B)
        return any_B.nonzero()[:, 0].tolist()

    def explained_variance(self) -> float:
        """Fraction of the variance of the returns that the critic predicts; 0 if there is none."""
        variance = self.returns_A.var(correction=0)
        if variance == 0:
            return 0.0
        error = (self.returns_A - self.old_values_A).var(correction=0)
        return float(1 - error / variance)


def make_experience(
    batch: Batch,
    config: AlgorithmConfig,
    *,
    max_tokens: int,
    policy: Scorer,
    reference: Scorer | None,
    critic: Scorer | None,
    distributed: DistributedContext = SINGLE_PROCESS,
) -> Experience:
    """Score a batch with the current models and compute its advantages.

    Args:
        batch: rollouts of the update.
        config: settings of the algorithm.
        max_tokens: most positions of one forward pass.
        policy: log-probabilities of the policy; used if old ones are recomputed.
        reference: log-probabilities of the reference model; used if there is a KL.
        critic: values; None without a critic.
        distributed: ranks that share the scoring; all pass the same batch and get equal results.
    """

    def scores(scorer: Scorer) -> Tensor:
        return score(batch, scorer, max_tokens, distributed=distributed)

    zeros_A = torch.zeros_like(batch.sampled_logprobs_A)
    old_logprobs_A = scores(policy) if config.recomputes else batch.sampled_logprobs_A
    log_ratios_A = old_logprobs_A - batch.sampled_logprobs_A
    importance_weights_A = importance_weights(
        log_ratios_A, batch.counts_B, config.importance_sampling, limit=config.importance_limit
    )
    metrics = importance_metrics(log_ratios_A, importance_weights_A) if config.recomputes else {}
    ref_logprobs_A = zeros_A
    if config.kl_coef > 0 and reference is not None:
        ref_logprobs_A = scores(reference)
    values_A = scores(critic) if critic is not None else zeros_A

    rewards_A = token_rewards(batch.rewards_B, batch.counts_B)
    if config.kl_in_reward:
        penalty_A = kl_estimate(old_logprobs_A, ref_logprobs_A, config.estimator)
        rewards_A = rewards_A - config.kl_coef * penalty_A
        metrics["kl"] = float(penalty_A.mean())
    inputs = AdvantageInput(
        rewards_A=rewards_A,
        values_A=values_A,
        counts_B=batch.counts_B,
        groups_B=batch.groups_B,
        turns_A=batch.turns_A,
    )
    advantages_A, returns_A = ADVANTAGES[config.row.advantage](inputs, config)
    return Experience(
        old_logprobs_A=old_logprobs_A,
        ref_logprobs_A=ref_logprobs_A,
        old_values_A=values_A,
        advantages_A=advantages_A,
        returns_A=returns_A,
        importance_weights_A=importance_weights_A,
        metrics=metrics,
    )


@torch.no_grad()
def score(
    batch: Batch,
    scorer: Scorer,
    max_tokens: int,
    *,
    distributed: DistributedContext = SINGLE_PROCESS,
) -> Tensor:
    """[A] score of every action token of a batch, float64 on the CPU, on every rank."""
    scores_A = torch.zeros_like(batch.sampled_logprobs_A)
    for micro_batch in batch.micro_batches(max_tokens, distributed=distributed):
        scores_A[micro_batch.tokens_A] = scorer(micro_batch).double().cpu()
    # Exactly one rank scores a token; it is zero on the others.
    return distributed.all_reduce(scores_A, "score the rollouts")
