"""What an update is measured against, fixed before its first step.

Everything here comes from the policy as it was when the update began; the steps that follow change
the policy and compare it with these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.llm.algorithms.advantages import ADVANTAGES, Outcome, token_rewards
from agents.llm.algorithms.importance import importance_metrics, importance_weights
from agents.llm.algorithms.kl import kl_estimate
from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.algorithms.segment_ops import sum_by_rollout
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.learner.batch import Batch, MicroBatch

Scorer = Callable[[MicroBatch], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """Flat [A] tensors, float64, on the CPU.

    Attributes:
        old_logprobs_A: what ratios are taken against.
        ref_logprobs_A: the reference model's; zeros where no KL is asked for.
        old_values_A: the critic's before the update; zeros without one.
        advantages_A: weight of each token's ratio.
        returns_A: what the critic is trained on.
        importance_weights_A: importance-sampling weight of each token's policy loss.
        metrics: of sampler and learner, and `kl` where the reward was charged with it, per token
            and before kl_coef.
    """

    old_logprobs_A: Tensor
    ref_logprobs_A: Tensor
    old_values_A: Tensor
    advantages_A: Tensor
    returns_A: Tensor
    importance_weights_A: Tensor
    metrics: Mapping[str, float]

    def useful_rows(self, batch: Batch) -> list[int]:
        """Rollouts with an advantage other than zero: only they move a plain policy loss."""
        any_B = sum_by_rollout((self.advantages_A != 0).float(), batch.counts_B)
        return any_B.nonzero()[:, 0].tolist()


def make_targets(
    batch: Batch,
    config: AlgorithmConfig,
    *,
    max_tokens: int,
    share_prompts: bool = False,
    policy: Scorer,
    reference: Scorer | None,
    critic: Scorer | None,
    distributed: DistributedContext = SINGLE_PROCESS,
) -> Targets:
    """Score a batch with the models as they stand and compute its advantages.

    Args:
        batch: the update's rollouts.
        config: of the algorithm.
        max_tokens: positions of one forward pass.
        share_prompts: as `Batch.micro_batches` takes it.
        policy: log-probabilities of a micro-batch's action tokens; used where the config wants
            old ones recomputed.
        reference: the reference model's; used where there is a KL.
        critic: values; None without one.
        distributed: that share the scoring; all hold the same batch, and get the same targets.
    """

    def scores(scorer: Scorer) -> Tensor:
        return score(
            batch, scorer, max_tokens, share_prompts=share_prompts, distributed=distributed
        )

    zeros_A = torch.zeros_like(batch.sampled_logprobs_A)
    old_logprobs_A = batch.sampled_logprobs_A
    if config.recomputes:
        old_logprobs_A = scores(policy)
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
    credit = ADVANTAGES[config.row.advantage](
        Outcome(
            rewards_A=rewards_A,
            values_A=values_A,
            counts_B=batch.counts_B,
            groups_B=batch.groups_B,
            turns_A=batch.turns_A,
        ),
        config,
    )
    return Targets(
        old_logprobs_A=old_logprobs_A,
        ref_logprobs_A=ref_logprobs_A,
        old_values_A=values_A,
        advantages_A=credit.advantages_A,
        returns_A=credit.returns_A,
        importance_weights_A=importance_weights_A,
        metrics=metrics,
    )


@torch.no_grad()
def score(
    batch: Batch,
    scorer: Scorer,
    max_tokens: int,
    *,
    share_prompts: bool = False,
    distributed: DistributedContext = SINGLE_PROCESS,
) -> Tensor:
    """[A] what a model says of every action token, float64 on the CPU, on every rank."""
    scores_A = torch.zeros_like(batch.sampled_logprobs_A)
    for micro_batch in batch.micro_batches(
        max_tokens, share_prompts=share_prompts, distributed=distributed
    ):
        scores_A[micro_batch.tokens_A] = scorer(micro_batch).double().cpu()
    # Each token is scored by one rank, and zero on the others.
    return distributed.all_reduce(scores_A, "score the rollouts")
