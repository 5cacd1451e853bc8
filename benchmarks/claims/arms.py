"""The arms of the re-test: what each changes in the settings that all of them share.

An arm is a row of `ARMS`. All start from the same policy, see the same questions in the same order
for the same seed, and play the same number of episodes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import asks_about_world
from agents.specs import spec_from_text

Learning = Literal["reinforcement", "reinforcement, unmasked", "imitation", "none"]
Changes = Mapping[str, Any]


def _as_it_is(base: TrainConfig) -> Changes:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to come to a policy.

    Attributes:
        about: in a few words.
        change: settings that differ from the shared ones.
        learning: how the policy learns from its episodes.
        of_worlds: whether it needs questions about a fictional world.
    """

    about: str
    change: Callable[[TrainConfig], Changes] = _as_it_is
    learning: Learning = "reinforcement"
    of_worlds: bool = False


def _fixed(**changes: Any) -> Callable[[TrainConfig], Changes]:
    return lambda base: changes


def _real_engine(base: TrainConfig) -> Changes:
    """Train on the kind of engine that all are judged on, over what the training questions know."""
    engine = base.real_engine
    if engine is None and asks_about_world(base):
        engine = "bm25"
    if engine is None:
        raise ValueError(
            "the arm 'real-engine' needs a real engine for these questions; pass --real-engine"
        )
    return {"engine": engine, "eval_engine": _judging_engine(base)}


def _mean_noise(base: TrainConfig) -> Changes:
    noise = base.noise()
    mean = sum(map(noise.probability, range(base.steps))) / base.steps
    # The other end stays, since held-out questions are asked under it in every arm.
    return {"noise_shape": "constant", "noise_start": round(mean, 4)}


def _without_search(base: TrainConfig) -> Changes:
    return {"engine": "none", "eval_engine": "none", "real_engine": "none"}


def _mispaired(*, told: bool) -> Callable[[TrainConfig], Changes]:
    def change(base: TrainConfig) -> Changes:
        if not base.deterministic or base.max_refills or base.curriculum:
            raise ValueError(
                "mispaired engines count the rows of a step, got deterministic="
                f"{base.deterministic}, max_refills={base.max_refills}, curriculum="
                f"{base.curriculum}; expected True, 0 and none"
            )
        spec = {
            "kind": "mispaired",
            "engine": spec_from_text(base.engine or "world", role="engine"),
            "seed": base.seed,
            "questions_per_step": base.questions_per_step,
            "group_size": base.group_size,
            "told": told,
        }
        return {"engine": json.dumps(spec), "eval_engine": _judging_engine(base)}

    return change


def _judging_engine(base: TrainConfig) -> str:
    return base.eval_engine or base.engine or "world"


ARMS: Mapping[str, Arm] = {
    "default": Arm(about="GRPO on simulated pages, noise rising"),
    "real-engine": Arm(about="trained on the real engine", change=_real_engine),
    "noise-mean": Arm(about="noise fixed at the mean of the rising one", change=_mean_noise),
    "noise-half": Arm(
        about="noise fixed at 0.5", change=_fixed(noise_shape="constant", noise_start=0.5)
    ),
    "noise-falling": Arm(about="noise falling", change=_fixed(noise_shape="reverse")),
    "noise-none": Arm(about="no noise", change=_fixed(noise_shape="constant", noise_start=0.0)),
    "unmasked": Arm(about="tokens of pages learnt too", learning="reinforcement, unmasked"),
    "reinforce": Arm(about="REINFORCE", change=_fixed(algorithm="reinforce")),
    "ppo": Arm(about="PPO", change=_fixed(algorithm="ppo")),
    "reinforce_pp": Arm(about="REINFORCE++", change=_fixed(algorithm="reinforce_pp")),
    "no-search": Arm(about="RL without search, judged without it as well", change=_without_search),
    "imitation": Arm(
        about="SFT on faultless episodes, as many as RL plays",
        learning="imitation",
        of_worlds=True,
    ),
    "prompted": Arm(about="the policy that all others start from", learning="none"),
    "own-luck": Arm(
        about="each episode of a group has its own luck", change=_fixed(share_group_seed=False)
    ),
    "wrong-question": Arm(
        about="engine given another row's question, as in the original",
        change=_mispaired(told=False),
    ),
    "wrong-answer": Arm(
        about="the same, and useful pages tell that row's answer",
        change=_mispaired(told=True),
        of_worlds=True,
    ),
}


def arms_for(base: TrainConfig) -> list[str]:
    """Names of the arms that fit the shared settings, in the table's order."""
    in_world = asks_about_world(base)
    return [name for name, arm in ARMS.items() if in_world or not arm.of_worlds]
