"""The environment for SkyRL: a text environment of skyrl_gym 0.4, for the rows of `verl_row`.

`agents.llm.skyrl` starts SkyRL's trainer with it. Importing this module needs the extra `skyrl`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

try:
    from skyrl_gym.envs import register  # type: ignore[import-not-found]
    from skyrl_gym.envs.base_text_env import (  # type: ignore[import-not-found]
        BaseTextEnv,
        BaseTextEnvStepOutput,
    )
except ImportError as error:
    raise ImportError(
        "envs_registry.skyrl needs skyrl_gym: pip install 'zerosearch-gym[skyrl]'"
    ) from error

from envs_registry.chat_episodes import summary
from envs_registry.shared_environment import shared_environment
from zs_env.text.suggestions import unknown_name

ENV_CLASS = "zerosearch"


class EpisodeFailed(RuntimeError):
    """The engine or the judge failed; the episode must not be trained on."""


def register_environment(
    environments: Mapping[str, Any], *, seed: int = 0, share_group_seed: bool = False
) -> None:
    """Register `ENV_CLASS` with skyrl_gym, in this process.

    Args:
        environments: specs by the rows' `data_source`; see
            `envs_registry.shared_environment.SharedEnvironment`. All episodes of a process share
            their questions and engines.
        seed: for rows without a seed; their episodes differ between steps.
        share_group_seed: whether all episodes of a group get the same pages for the same queries.

    Raises:
        skyrl_gym.error.RegistrationError: if it is registered already.
    """
    settings = {"environments": environments, "seed": seed, "share_group_seed": share_group_seed}
    register(ENV_CLASS, entry_point="envs_registry.skyrl:ZeroSearchTextEnv", kwargs=settings)


class ZeroSearchTextEnv(BaseTextEnv):
    """One episode of a row made by `envs_registry.verl.verl_row`.

    A generator of SkyRL passes neither the training step nor the number of the episode in its
    group, so with it the noise schedule stays at its start, and rows without a seed get random
    episodes. `agents.llm.skyrl.ZeroSearchGenerator` adds both to the row.

    Args:
        env_config: SkyRL's configuration of the environment; it has none.
        extras: the row, `max_turns` of the generator, and optionally `training_step` (from 0) and
            `repetition_id`, the number of the episode in its group.
        environments: see `register_environment`.
        seed: see `register_environment`.
        share_group_seed: see `register_environment`.

    Raises:
        ValueError: if the row names no environment, or `generator.max_turns` is not its limit.
    """

    def __init__(
        self,
        env_config: Any = None,
        extras: Mapping[str, Any] | None = None,
        *,
        environments: Mapping[str, Any],
        seed: int = 0,
        share_group_seed: bool = False,
    ) -> None:
        super().__init__()
        self._row = extras or {}
        self._seed = seed
        self._share_group_seed = share_group_seed
        name = str(self._row.get("data_source"))
        if name not in environments:
            raise unknown_name("data_source", name, environments)
        self._env = shared_environment(json.dumps(environments[name], sort_keys=True)).make()
        self.max_turns = self._env.config.max_turns
        given = self._row.get("max_turns", self.max_turns)
        if given != self.max_turns:
            raise ValueError(
                f"generator.max_turns is {given}, but environment {name!r} has max_turns="
                f"{self.max_turns}; set both to the same number"
            )

    def init(self, prompt: Any) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """Start the episode; return the environment's prompt in place of the row's.

        Raises:
            ValueError: if the row was made from other questions.
        """
        given = self._row["extra_info"]
        step, member = self._row.get("training_step"), self._row.get("repetition_id")
        index, seed = int(given["index"]), given.get("seed")
        is_random = seed is None and member is None
        if seed is None:
            seed = _seed((self._seed, step or 0, index))
        options: dict[str, Any] = {"question_index": index}
        if step is not None:
            options["training_step"] = step
        if given.get("noise_probability") is not None:
            options["noise_probability"] = given["noise_probability"]
        if self._share_group_seed:
            options["group_seed"] = int(seed)
        # The same seeds as in `agents.llm.rollout.question_order.group_seeds`.
        own_seed = None if is_random else _seed(int(seed), 2 * member) if member else int(seed)
        observation, info = self._env.reset(seed=own_seed, options=options)
        if info["question_id"] != given["question_id"]:
            raise ValueError(
                f"question {index} is {info['question_id']!r}, but the row expects "
                f"{given['question_id']!r}; write the rows again with `zerosearch verl-rows` from "
                "the questions of this environment"
            )
        return [{"role": "user", "content": observation["message"]}], {}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Apply an action.

        Returns:
            `observations` (the environment's message; none at the end), `reward`, `done`, and
            `metadata`: the values of `info` in `zs_env.ZeroSearchEnv`, except the documents.

        Raises:
            EpisodeFailed: if the engine or the judge failed. skyrl_gym cannot mark an episode as
                failed.
        """
        self.turns += 1
        observation, reward, terminated, truncated, info = self._env.step(action)
        if info.get("failure") is not None:
            self.close()
            raise EpisodeFailed(info["failure"])
        done, message = terminated or truncated, observation["message"]
        return BaseTextEnvStepOutput(
            observations=[] if done else [{"role": "user", "content": message}],
            reward=float(reward),
            done=done,
            metadata={name: value for name, value in info.items() if name != "documents"},
            postprocessed_action=None,
        )

    def get_metrics(self) -> dict[str, float]:
        """Return the scores of the answer, the number of searches and the noise probability."""
        return summary(self._env.transcript())["metrics"]

    def close(self) -> None:
        """Stop the searches of the episode; the shared engine stays open."""
        self._env.close()


def _seed(entropy: int | tuple[int, ...], position: int = 0) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(position + 1)[position])
