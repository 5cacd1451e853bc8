"""The scalar that an optimizer step descends, as its micro-batches' shares.

A share is a weighted sum over action tokens; weights come from the whole step, so shares add up
to the same loss however the step was cut.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from agents.llm.algorithms.kl import kl_loss
from agents.llm.algorithms.losses import POLICY_LOSSES, clipped_value_loss
from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.learner.batch import MicroBatch
from agents.llm.learner.experience import Targets
from agents.llm.learner.logprobs import TokenLogprobs


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A micro-batch's part of the loss, with the parts of what it is made of.

    Attributes:
        loss: what is differentiated.
        parts: weighted sums by metric name.
    """

    loss: Tensor
    parts: dict[str, Tensor]


def policy_share(
    scored: TokenLogprobs,
    micro_batch: MicroBatch,
    targets: Targets,
    weights_A: Tensor,
    config: AlgorithmConfig,
) -> Share:
    """The policy's loss, minus the entropy bonus, plus the KL where it belongs in the loss.

    Args:
        scored: log-probabilities and entropies of the micro-batch's action tokens.
        micro_batch: says which tokens of the batch they are.
        targets: of the whole batch.
        weights_A: of the whole batch's tokens in this optimizer step.
        config: of the algorithm.
    """
    logprobs_A, entropies_A = scored

    def pick(values: Tensor) -> Tensor:
        return _pick(values, micro_batch, logprobs_A)

    weights = pick(weights_A)
    policy_loss = POLICY_LOSSES[config.policy_loss or config.row.policy_loss]
    policy = policy_loss(
        logprobs_A,
        pick(targets.old_logprobs_A),
        pick(targets.advantages_A),
        micro_batch.rows_A.to(logprobs_A.device),
        config.clip,
    )
    parts = {
        "pg_loss": weights @ (pick(targets.importance_weights_A) * policy.losses_A),
        "entropy": weights @ entropies_A,
        "ratio_mean": weights @ policy.ratios_A,
        "clip_fraction": weights @ policy.clipped_A.to(weights),
    }
    loss = parts["pg_loss"]
    if config.entropy_coef > 0:
        loss = loss - config.entropy_coef * parts["entropy"]
    if config.kl_in_loss:
        terms_A = kl_loss(logprobs_A, pick(targets.ref_logprobs_A), config.estimator)
        parts["kl"] = weights @ terms_A
        loss = loss + config.kl_coef * parts["kl"]
    return Share(loss=loss, parts=parts | {"loss": loss})


def critic_share(
    values_A: Tensor,
    micro_batch: MicroBatch,
    targets: Targets,
    weights_A: Tensor,
    config: AlgorithmConfig,
) -> Share:
    """The clipped value loss of a micro-batch, under the same weights as the policy's."""

    def pick(values: Tensor) -> Tensor:
        return _pick(values, micro_batch, values_A)

    losses_A = clipped_value_loss(
        values_A,
        pick(targets.old_values_A),
        pick(targets.returns_A),
        value_clip=config.value_clip,
    )
    loss = pick(weights_A) @ losses_A
    return Share(loss=loss, parts={"value_loss": loss})


def _pick(values_A: Tensor, micro_batch: MicroBatch, like: Tensor) -> Tensor:
    """A batch's values at a micro-batch's tokens, as another tensor's dtype on its device."""
    return values_A[micro_batch.tokens_A.to(values_A.device)].to(like)
