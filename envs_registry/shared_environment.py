"""An environment with overrides whose instances share questions, engine and judge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import gymnasium

from zs_env.config import build_engine, build_questions, make_env
from zs_env.config.environments import reward_from_text
from zs_env.env import ZeroSearchEnv
from zs_env.noise import build_noise
from zs_env.sampler import QuestionsWithinLimits


class SharedEnvironment:
    """A registered environment with overrides; all instances share its questions, engine and judge.

    Args:
        spec: `id`, and arguments of `zs_env.config.make_env` as JSON values.

    Raises:
        ValueError: if `id` is missing, a spec of questions or engine is wrong, or a prompt is too
            long.
        gymnasium.error.Error: if the id is not registered.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        if "id" not in spec:
            raise ValueError(
                f"got the environment {dict(spec)!r}, expected an 'id' such as 'ZeroSearch-v0'"
            )
        settings = {**gymnasium.spec(spec["id"]).kwargs, **spec}
        del settings["id"]
        self.questions = build_questions(settings.pop("questions"))
        engine = settings.pop("engine")
        self.engine = None if engine is None else build_engine(engine, self.questions)
        if isinstance(settings.get("reward"), str | Mapping):
            settings["reward"] = reward_from_text(settings["reward"])
        self._settings = settings
        if isinstance(self.questions, list | tuple):  # their prompts are checked once
            env = self.make()
            kept = (env.questions[index] for index in range(env.num_questions))
            self.questions = QuestionsWithinLimits(kept, env.config)

    def make(self) -> ZeroSearchEnv:
        """Return a new environment; closing it does not close the shared engine."""
        return make_env(self.questions, self.engine, **self._settings)


@lru_cache(maxsize=32)
def shared_environment(spec: str) -> SharedEnvironment:
    """Return the environment of a spec, given as JSON text; it is built once in a process.

    Raises:
        ValueError: if the spec is wrong, or fails `check_scheduled_noise`.
    """
    settings = json.loads(spec)
    check_scheduled_noise(settings)
    return SharedEnvironment(settings)


def check_scheduled_noise(settings: Mapping[str, Any]) -> None:
    """Check that the noise of an environment works if every episode begins anew.

    Frameworks play each episode with a seed, or in an environment of its own, and both put the
    noise back to its start.

    Args:
        settings: of the environment, as JSON values.

    Raises:
        ValueError: if the noise follows the rewards.
    """
    noise = settings.get("noise", 0.0)
    if hasattr(build_noise(noise), "record"):
        raise ValueError(
            f"got the noise {noise!r}, which follows the rewards of earlier episodes, but here "
            'each episode puts it back to its start; give a schedule, such as {"start": 0.0, '
            '"end": 0.5, "total_steps": 200}'
        )
