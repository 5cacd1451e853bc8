"""A run's learner: its flat settings sorted into those of the algorithm and of the optimizer."""

from __future__ import annotations

from typing import Any

from agents.llm.algorithms.registry import ALGORITHMS, AlgorithmConfig
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.policy.policy import load_policy
from agents.llm.trainer.config import TrainConfig


def make_learner(
    config: TrainConfig, model: Any, distributed: DistributedContext = SINGLE_PROCESS
) -> Learner:
    """Make the learner of a run, at its first step.

    The reference is the policy that the run began with, also where `model` comes from a
    checkpoint.

    Args:
        config: of the run.
        model: the policy's, to be trained in place.
        distributed: that it is spread over.

    Raises:
        ValueError: if the algorithm compares the episodes of a group and groups are of one.
    """
    if ALGORITHMS[config.algorithm].needs_groups and config.group_size < 2:
        raise ValueError(
            f"{config.algorithm} compares the episodes of a group, got group_size="
            f"{config.group_size}; use at least 2, or algorithm='reinforce_pp'"
        )
    reference = None
    if config.kl_coef > 0 and config.lora_rank:
        reference = model
    elif config.kl_coef > 0:
        began = load_policy(config.policy, dtype=config.dtype, device=str(model.device))
        reference = began.model.requires_grad_(False)
    return Learner(
        model,
        algorithm=AlgorithmConfig(
            algorithm=config.algorithm,
            policy_loss=config.policy_loss,
            clip_low=config.clip_low,
            clip_high=config.clip_high,
            dual_clip=config.dual_clip,
            kl_coef=config.kl_coef,
            kl_estimator=config.kl_estimator,
            kl_in=config.kl_in,
            entropy_coef=config.entropy_coef,
            loss_aggregation=config.loss_aggregation,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            value_clip=config.value_clip,
            critic_learning_rate=config.critic_learning_rate,
            minibatches=config.minibatches,
            epochs=config.epochs,
            recompute_logprobs=config.recompute_logprobs,
            importance_sampling=config.importance_sampling,
            importance_limit=config.importance_limit,
        ),
        optimizer=OptimizerConfig(
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
            warmup_steps=config.warmup_steps,
            lr_schedule=config.lr_schedule,
            tokens_per_micro_batch=config.tokens_per_micro_batch,
            gradient_checkpointing=config.gradient_checkpointing,
            compile_layers=config.compile_layers,
            autocast=config.autocast,
        ),
        reference_model=reference,
        total_updates=config.steps,
        temperature=config.temperature,
        loss_divisor=config.max_turns * config.max_new_tokens,
        distributed=distributed,
    )
