"""Experience: per-token constants of an update, and the losses that are computed from them.

The experience is computed once, before the first optimizer step. The loss of a step is a sum over
micro-batches. Its token weights come from the whole step, so the sum does not depend on the split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from agents.llm.algorithms.advantages import estimate_advantages, token_rewards
from agents.llm.algorithms.losses import (
    POLICY_LOSSES,
    clipped_value_loss,
    importance_metrics,
    importance_weights,
    kl_estimate,
    kl_loss,
)
from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.algorithms.segment_ops import sum_by_rollout
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.learner.batch import Batch, MicroBatch

# The sampler is the policy if their log-probabilities differ by at most this, in nats, on so many
# rollouts. In float32 they differ by about 1e-5; the narrowest clip range, that of GSPO, is 3e-4.
_SAME_SAMPLER, _COMPARED_ROLLOUTS = 1e-4, 4

# [A] log-probabilities or values of a micro-batch's action tokens.
Scorer = Callable[[MicroBatch], Tensor]
# The differentiable loss of a micro-batch, and weighted sums by metric name.
Loss = tuple[Tensor, dict[str, Tensor]]


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
    recomputes = config.recomputes or (
        config.recompute_logprobs == "auto"
        and config.loss != "nll"  # which has no ratio
        and _sampler_differs(batch, policy, max_tokens, distributed)
    )
    old_logprobs_A = scores(policy) if recomputes else batch.sampled_logprobs_A
    log_ratios_A = old_logprobs_A - batch.sampled_logprobs_A
    importance_weights_A = importance_weights(
        log_ratios_A, batch.counts_B, config.importance_sampling, limit=config.importance_limit
    )
    metrics = importance_metrics(log_ratios_A, importance_weights_A) if recomputes else {}
    ref_logprobs_A = zeros_A
    if config.kl_coef > 0 and reference is not None:
        ref_logprobs_A = scores(reference)
    values_A = scores(critic) if critic is not None else zeros_A

    rewards_A = token_rewards(batch.rewards_B, batch.counts_B)
    if config.kl_in_reward:
        penalty_A = kl_estimate(old_logprobs_A, ref_logprobs_A, config.estimator)
        rewards_A = rewards_A - config.kl_coef * penalty_A
        metrics["kl"] = float(penalty_A.mean())
    advantages_A, returns_A = estimate_advantages(
        config,
        rewards_A=rewards_A,
        values_A=values_A,
        counts_B=batch.counts_B,
        groups_B=batch.groups_B,
        turns_A=batch.turns_A,
    )
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
    rows: Sequence[int] | None = None,
    *,
    distributed: DistributedContext = SINGLE_PROCESS,
) -> Tensor:
    """[A] score of every action token of a batch, float64 on the CPU, on every rank.

    With `rows`, only these rollouts are scored; the tokens of others have the score 0.
    """
    scores_A = torch.zeros_like(batch.sampled_logprobs_A)
    for micro_batch in batch.micro_batches(max_tokens, rows, distributed=distributed):
        scores_A[micro_batch.tokens_A] = scorer(micro_batch).double().cpu()
    # Exactly one rank scores a token; it is zero on the others.
    return distributed.all_reduce(scores_A, "score the rollouts")


def _sampler_differs(
    batch: Batch, policy: Scorer, max_tokens: int, distributed: DistributedContext
) -> bool:
    """Whether the policy gives a few rollouts other log-probabilities than their sampler did."""
    # Differences are largest at unlikely tokens.
    totals_B = sum_by_rollout(batch.sampled_logprobs_A, batch.counts_B)
    rows = totals_B.argsort()[:_COMPARED_ROLLOUTS]
    compared_A = torch.isin(batch.rows_A, rows)
    logprobs_A = score(batch, policy, max_tokens, rows.tolist(), distributed=distributed)
    gaps_A = (logprobs_A - batch.sampled_logprobs_A)[compared_A].abs()
    return not bool((gaps_A <= _SAME_SAMPLER).all())


def policy_objective(
    logprobs_A: Tensor,
    entropies_A: Tensor,
    micro_batch: MicroBatch,
    experience: Experience,
    weights_A: Tensor,
    config: AlgorithmConfig,
) -> Loss:
    """Return the policy loss minus the entropy bonus, plus the KL if it belongs to the loss.

    Args:
        logprobs_A: log-probabilities of the micro-batch's action tokens.
        entropies_A: entropies of their distributions.
        micro_batch: the location of these tokens in the batch.
        experience: of the whole batch.
        weights_A: weights of the whole batch's tokens in this optimizer step.
        config: settings of the algorithm.
    """
    pick = partial(_pick, micro_batch=micro_batch, like=logprobs_A)
    weights = pick(weights_A)
    old_logprobs_A = pick(experience.old_logprobs_A)
    losses_A, ratios_A, clipped_A = POLICY_LOSSES[config.loss](
        logprobs_A,
        old_logprobs_A,
        pick(experience.advantages_A),
        micro_batch.rows_A.to(logprobs_A.device),
        config.clip,
    )
    metrics = {
        "pg_loss": weights @ (pick(experience.importance_weights_A) * losses_A),
        "entropy": weights @ entropies_A,
        "ratio_mean": weights @ ratios_A,
        "clip_fraction": weights @ clipped_A.to(weights),
    }
    if config.loss != "nll":
        # KL(old || new), in which the old policy takes the place of the sampled one.
        metrics["approx_kl"] = weights @ kl_estimate(old_logprobs_A, logprobs_A.detach(), "k3")
    loss = metrics["pg_loss"]
    if config.entropy_coef > 0:
        loss = loss - config.entropy_coef * metrics["entropy"]
    if config.kl_in_loss:
        terms_A = kl_loss(logprobs_A, pick(experience.ref_logprobs_A), config.estimator)
        metrics["kl"] = weights @ terms_A
        loss = loss + config.kl_coef * metrics["kl"]
    return loss, metrics | {"loss": loss}


def critic_objective(
    values_A: Tensor,
    micro_batch: MicroBatch,
    experience: Experience,
    weights_A: Tensor,
    config: AlgorithmConfig,
) -> Loss:
    """Return the clipped value loss of a micro-batch, with the token weights of the policy loss."""
    losses_A = clipped_value_loss(
        values_A,
        _pick(experience.old_values_A, micro_batch, values_A),
        _pick(experience.returns_A, micro_batch, values_A),
        value_clip=config.value_clip,
    )
    loss = _pick(weights_A, micro_batch, values_A) @ losses_A
    return loss, {"value_loss": loss}


def _pick(values_A: Tensor, micro_batch: MicroBatch, like: Tensor) -> Tensor:
    """Select the values of a micro-batch's tokens, in the dtype and on the device of `like`."""
    return values_A[micro_batch.tokens_A.to(values_A.device)].to(like)
