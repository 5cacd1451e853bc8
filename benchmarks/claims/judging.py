"""How good the policy of an arm is: F1 of every held-out question, in every setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.llm.generators.factory import make_generator
from agents.llm.policy.policy import Policy
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.evaluator import Evaluator
from zs_env.transcripts.transcript import Transcript


def judge(config: TrainConfig, policy: Policy) -> dict[str, Sequence[Transcript]]:
    """Play the held-out questions greedily; return the episodes of each setting, in their order.

    Question and seed decide an episode's luck, so two arms of one seed meet the same.
    """
    config = replace(config, prompt=config.prompt or policy.prompt)
    examination = Evaluator(config, policy)
    generator = make_generator(
        policy, config.generator, dtype=config.rollout_dtype, folder=config.output / "weights"
    )
    try:
        played = examination.play(policy, generator, episodes=config.final_episodes)
    finally:
        generator.close()
        examination.close()
    names = [setting.name for setting in examination.settings]
    return dict(zip(names, played, strict=True))
