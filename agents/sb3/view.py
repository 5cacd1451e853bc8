"""The discrete view: an environment of texts with numbered choices and numeric observations."""

from __future__ import annotations

from typing import Any, SupportsInt

import gymnasium
import numpy as np
from gymnasium import spaces

from agents.sb3.choices import Limits, Vector, find_choices
from zs_env.env import ZeroSearchEnv


class DiscreteSearchView(
    gymnasium.Wrapper[Any, Any, dict[str, Any], str], gymnasium.utils.RecordConstructorArgs
):
    """Shows the choices of a turn (see `find_choices`) as numbers, and takes the number of one.

    An episode ends as in the environment, except that the turn limit terminates it: the turns left
    are observed, and no value may be bootstrapped after the last one.

    Args:
        env: a `ZeroSearchEnv`.
        num_queries: most queries, the question included.
        num_answers: most answers.

    Raises:
        TypeError: if `env` is another environment.
    """

    def __init__(
        self,
        env: gymnasium.Env[dict[str, Any], str],
        num_queries: int = Limits().num_queries,
        num_answers: int = Limits().num_answers,
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, num_queries=num_queries, num_answers=num_answers
        )
        gymnasium.Wrapper.__init__(self, env)
        inner = env.unwrapped
        if not isinstance(inner, ZeroSearchEnv):
            raise TypeError(f"DiscreteSearchView wraps a ZeroSearchEnv, got {inner}")
        self.limits = Limits(inner.config.max_turns, num_queries, num_answers)
        self.actions = [""] * (num_queries + num_answers)
        self.action_space = spaces.Discrete(len(self.actions))  # type: ignore[assignment]
        self.observation_space = spaces.Box(0.0, 1.0, (self.limits.num_features,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Start an episode; `options` are the environment's."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.actions, features = find_choices(observation, self.limits)
        return features, info

    def step(self, action: SupportsInt) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Take the choice with this number."""
        text = self.actions[int(action)]
        observation, reward, terminated, truncated, info = self.env.step(text)
        if info.get("reason") == "turn_limit":
            terminated, truncated = True, False
        self.actions, features = find_choices(observation, self.limits)
        return features, float(reward), terminated, truncated, info
