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


class SharedEnvironment:
    """A registered environment with overrides; all instances share its questions, engine and judge.

    Args:
        spec: `id`, and arguments of `zs_env.config.make_env` as JSON values.

    Raises:
        ValueError: if `id` is missing, or a spec of questions or engine is wrong.
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

    def make(self) -> ZeroSearchEnv:
        """Return a new environment; closing it does not close the shared engine."""
        return make_env(self.questions, self.engine, **self._settings)


@lru_cache(maxsize=32)
def shared_environment(spec: str) -> SharedEnvironment:
    """Return the environment of a spec, given as JSON text; it is built once in a process."""
    return SharedEnvironment(json.loads(spec))
