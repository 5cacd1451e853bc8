"""SFT only: the policy imitates an oracle and plays no episodes itself.

It trains on as many episodes of the same questions as RL plays, with as many optimizer steps.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.policy.policy import Policy
from agents.llm.rollout.question_order import question_indices
from agents.llm.rollout.types import Rollout
from agents.llm.sft.demonstrations import encode_demonstration
from agents.llm.sft.supervised import SUPERVISED, plan_steps, train_steps
from agents.llm.sft.world_teacher import NO_ERRORS, WorldTeacher
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import training_questions
from zs_env.config import build_questions
from zs_env.episode import EpisodeConfig, Limits
from zs_env.prompts import PromptTemplate
from zs_env.world import WorldEngine, WorldQuestions


def imitate(config: TrainConfig, policy: Policy) -> None:
    """Train a policy in place on an oracle's episodes, with the run's questions and noise.

    Raises:
        ValueError: if the questions are not about a fictional world.
        FloatingPointError: if a loss or gradient was not finite.
    """
    rollouts = list(_demonstrations(config, policy))
    tokens = sum(len(rollout.token_ids) for rollout in rollouts)
    steps = plan_steps(
        rollouts,
        tokens_per_step=-(-tokens // (config.run.steps * config.algorithm.minibatches)),
        seed=config.run.seed,
    )
    optimizer = OptimizerConfig(
        learning_rate=config.optimizer.learning_rate,
        warmup_steps=config.optimizer.warmup_steps,
        lr_schedule=config.optimizer.lr_schedule,
        tokens_per_micro_batch=config.optimizer.tokens_per_micro_batch,
        max_grad_norm=config.optimizer.max_grad_norm,
        autocast=config.optimizer.autocast,
    )
    learner = Learner(
        policy.model, algorithm=SUPERVISED, optimizer=optimizer, total_updates=len(steps)
    )
    train_steps(learner, rollouts, steps)


def _demonstrations(config: TrainConfig, policy: Policy) -> Iterator[Rollout]:
    questions = build_questions(training_questions(config.environment))
    if not isinstance(questions, WorldQuestions):
        raise ValueError(
            "the oracle needs questions about a fictional world, got "
            f"{type(questions).__name__}; omit the arm 'imitation'"
        )
    rules = EpisodeConfig(
        max_turns=config.environment.max_turns,
        num_documents=config.environment.num_documents,
        prompt=PromptTemplate.of(config.environment.prompt or policy.prompt),
        limits=Limits(max_document_chars=config.environment.max_document_chars),
    )
    engine, noise = WorldEngine(questions.world), config.noise.schedule(config.run.steps)
    rng = random.Random(f"imitation {config.run.seed}")
    count = config.rollouts.questions_per_step
    for step in range(config.run.steps):
        indices = question_indices(
            step * count, count, num_questions=len(questions), seed=config.run.seed
        )
        for index in indices:
            for _ in range(config.rollouts.group_size):
                demonstration = WorldTeacher(questions[index], NO_ERRORS, rng).play(
                    engine, config=rules, noise_probability=noise.probability(step)
                )
                yield encode_demonstration(policy, demonstration)
