"""Evaluates the policy of an arm on the held-out questions, in every setting."""

from __future__ import annotations

from collections.abc import Sequence

from agents.llm.distributed.context import SINGLE_PROCESS
from agents.llm.generators.factory import make_generator
from agents.llm.policy.policy import Policy
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.evaluator import Evaluator
from agents.llm.trainer.setup import choose_precision
from agents.storage.config_file import with_settings
from zs_env.transcripts.transcript import Transcript


def evaluate_policy(config: TrainConfig, policy: Policy) -> dict[str, Sequence[Transcript]]:
    """Play the held-out questions greedily; return the episodes of each setting, in order.

    The randomness of an episode depends on its question and the run's seed alone, so it is equal in
    two arms with the same seed.
    """
    config = with_settings(config, {"prompt": config.environment.prompt or policy.prompt})
    config = choose_precision(config, SINGLE_PROCESS)
    evaluator = Evaluator(config, policy)
    generator = make_generator(
        policy,
        config.generation.generator,
        dtype=config.generation.rollout_dtype,
        folder=config.run.output / "weights",
    )
    try:
        played = evaluator.evaluate(policy, generator, episodes=config.evaluation.final_episodes)
    finally:
        generator.close()
        evaluator.close()
    names = [setting.name for setting in evaluator.settings]
    return dict(zip(names, played, strict=True))
