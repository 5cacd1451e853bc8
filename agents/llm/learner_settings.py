"""A run's learner: its flat settings sorted into those of the algorithm and of the optimizer."""

from __future__ import annotations

from agents.llm.algorithms import AlgorithmConfig
from agents.llm.learner import Learner
from agents.llm.optimizer import OptimizerConfig
from agents.llm.policy import Policy, load_policy
from agents.llm.train_config import TrainConfig


def make_learner(config: TrainConfig, policy: Policy) -> Learner:
    """Make the learner of a run, at its first step.

    The reference is the policy that the run began with, also where `policy` comes from a
    checkpoint.
    """
    reference = None
    if config.kl_coef > 0:
        device = str(policy.model.device)
        model = load_policy(config.policy, dtype=config.dtype, device=device).model
        reference = model.requires_grad_(False)
    return Learner(
        policy.model,
        algorithm=AlgorithmConfig(
            name=config.algorithm,
            clip_low=config.clip_low,
            clip_high=config.clip_high,
            kl_coef=config.kl_coef,
            kl_estimator=config.kl_estimator,
            kl_place=config.kl_place,
            entropy_coef=config.entropy_coef,
            loss_mean=config.loss_mean,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            value_clip=config.value_clip,
            num_minibatches=config.minibatches,
            num_epochs=config.epochs,
            recompute_old_logprobs=config.recompute_logprobs,
        ),
        optimizer=OptimizerConfig(
            lr=config.learning_rate,
            critic_lr=config.critic_learning_rate,
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
            warmup_updates=config.warmup_steps,
            schedule=config.lr_schedule,
            max_tokens_per_micro_batch=config.tokens_per_micro_batch,
            autocast=config.autocast,
        ),
        reference_model=reference,
        total_updates=config.steps,
        temperature=config.temperature,
    )
