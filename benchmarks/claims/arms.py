"""The arms of the replication: the changes of each to the common settings.

An arm is a row of `ARMS`. With the same seed, all arms start from the same policy, play the same
questions in the same order, and play the same number of episodes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import is_about_world
from agents.specs import spec_from_text

Learning = Literal["reinforcement", "reinforcement, unmasked", "imitation", "none"]
Changes = Mapping[str, Any]


def _no_changes(base: TrainConfig) -> Changes:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to train a policy.

    Attributes:
        about: short description.
        change: returns the settings that differ from the common ones.
        learning: how the policy is trained.
        needs_world: whether it needs questions about a fictional world.
    """

    about: str
    change: Callable[[TrainConfig], Changes] = _no_changes
    learning: Learning = "reinforcement"
    needs_world: bool = False


def _fixed(**changes: Any) -> Callable[[TrainConfig], Changes]:
    return lambda base: changes


def _real_engine(base: TrainConfig) -> Changes:
    """Train on the kind of engine that all arms are evaluated on, with the training corpus."""
    engine = base.environment.real_engine
    if engine is None and is_about_world(base.environment):
        engine = "bm25"
    if engine is None:
        raise ValueError(
            "the arm 'real-engine' needs a real engine for these questions; pass --real-engine"
        )
    # A real engine has no noise. `noise_end` stays, since all arms are evaluated with it.
    noise = {"noise_shape": "constant", "noise_start": 0.0}
    return {"engine": engine, "eval_engine": _evaluation_engine(base), **noise}


def _mean_noise(base: TrainConfig) -> Changes:
    noise = base.noise.schedule(base.run.steps)
    mean = sum(map(noise.probability, range(base.run.steps))) / base.run.steps
    # `noise_end` stays, since all arms are evaluated with it.
    return {"noise_shape": "constant", "noise_start": round(mean, 4)}


def _without_search(base: TrainConfig) -> Changes:
    return {"engine": "none", "eval_engine": "none", "real_engine": "none"}


def _mispaired(*, leak_answer: bool) -> Callable[[TrainConfig], Changes]:
    def change(base: TrainConfig) -> Changes:
        if not base.run.deterministic or base.rollouts.max_refills or base.rollouts.curriculum:
            raise ValueError(
                "mispaired engines need a fixed number of rows in a step, got deterministic="
                f"{base.run.deterministic}, max_refills={base.rollouts.max_refills}, curriculum="
                f"{base.rollouts.curriculum}; expected True, 0 and none"
            )
        spec = {
            "kind": "mispaired",
            "engine": spec_from_text(base.environment.engine or "world", role="engine"),
            "seed": base.run.seed,
            "questions_per_step": base.rollouts.questions_per_step,
            "group_size": base.rollouts.group_size,
            "leak_answer": leak_answer,
        }
        return {"engine": json.dumps(spec), "eval_engine": _evaluation_engine(base)}

    return change


def _evaluation_engine(base: TrainConfig) -> str:
    return base.environment.eval_engine or base.environment.engine or "world"


ARMS: Mapping[str, Arm] = {
    "default": Arm(about="GRPO on simulated pages, rising noise"),
    "real-engine": Arm(about="trained on the real engine", change=_real_engine),
    "noise-mean": Arm(about="noise fixed at the mean of the rising noise", change=_mean_noise),
    "noise-half": Arm(
        about="noise fixed at 0.5", change=_fixed(noise_shape="constant", noise_start=0.5)
    ),
    "noise-falling": Arm(about="falling noise", change=_fixed(noise_shape="reverse")),
    "noise-none": Arm(about="no noise", change=_fixed(noise_shape="constant", noise_start=0.0)),
    "unmasked": Arm(about="loss on the tokens of pages too", learning="reinforcement, unmasked"),
    "reinforce": Arm(about="REINFORCE", change=_fixed(algorithm="reinforce")),
    "ppo": Arm(about="PPO", change=_fixed(algorithm="ppo")),
    "reinforce_pp": Arm(about="REINFORCE++", change=_fixed(algorithm="reinforce_pp")),
    "no-search": Arm(about="RL without search, evaluated without search", change=_without_search),
    "imitation": Arm(
        about="SFT on correct episodes, as many as RL plays",
        learning="imitation",
        needs_world=True,
    ),
    "prompted": Arm(about="the initial policy of all arms", learning="none"),
    "own-seed": Arm(
        about="each episode of a group has its own seed", change=_fixed(share_group_seed=False)
    ),
    "wrong-question": Arm(
        about="engine gets another row's question, as in the original",
        change=_mispaired(leak_answer=False),
    ),
    "wrong-answer": Arm(
        about="the same, and useful pages contain that row's answer",
        change=_mispaired(leak_answer=True),
        needs_world=True,
    ),
}


def arms_for(base: TrainConfig) -> list[str]:
    """Return the names of the arms that suit the settings, in the order of the table."""
    in_world = is_about_world(base.environment)
    return [name for name, arm in ARMS.items() if in_world or not arm.needs_world]
