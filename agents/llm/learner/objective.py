"""The loss of an optimizer step as a sum over micro-batches.

Each part is a weighted sum over action tokens. The weights come from the whole step, so the sum
does not depend on how the step is split.
"""

from __future__ import annotations

from torch import Tensor

from agents.llm.algorithms.kl import kl_loss
from agents.llm.algorithms.losses import POLICY_LOSSES, clipped_value_loss
from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.learner.batch import MicroBatch
from agents.llm.learner.experience import Experience

# The differentiable loss of a micro-batch, and weighted sums by metric name.
Loss = tuple[Tensor, dict[str, Tensor]]


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

    def pick(values: Tensor) -> Tensor:
        return _pick(values, micro_batch, logprobs_A)

    weights = pick(weights_A)
    policy_loss = POLICY_LOSSES[config.policy_loss or config.row.policy_loss]
    losses_A, ratios_A, clipped_A = policy_loss(
        logprobs_A,
        pick(experience.old_logprobs_A),
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
