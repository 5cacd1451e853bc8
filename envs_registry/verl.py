"""The environment for verl: an environment with overrides, and the rows of a verl data set.

In a row `agent_name` selects verl's agent loop and `data_source` the environment of that loop. verl
need not be installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from zs_env.config import build_engine, build_questions, make_env
from zs_env.env import ZeroSearchEnv

AGENT_NAME = "zerosearch"


class SharedEnvironment:
    """A registered environment with overrides; all instances share its questions and engine.

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
        self._settings = settings

    def make(self) -> ZeroSearchEnv:
        """Return a new environment; closing it does not close the shared engine."""
        return make_env(self.questions, self.engine, **self._settings)


def verl_row(
    env: ZeroSearchEnv,
    index: int,
    *,
    data_source: str,
    noise_probability: float | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Return a question as a row of a verl data set, as JSON values.

    verl uses the prompt of the row for its length filter and its logs. The policy reads the prompt
    of the agent loop's environment.

    Args:
        env: an environment with the question; it is reset.
        index: of the question.
        data_source: name of the environment in the agent loop.
        noise_probability: noise probability of the episodes; None for the environment's schedule.
        seed: seed of the first episode of the row in every step; None for a new seed in each step.
    """
    observation, info = env.reset(options={"question_index": index})
    extra_info: dict[str, Any] = {"index": index, "question_id": info["question_id"]}
    if noise_probability is not None:
        extra_info["noise_probability"] = noise_probability
    if seed is not None:
        extra_info["seed"] = seed
    answers = list(env.transcript().question.answers)
    return {
        "data_source": data_source,
        "prompt": [{"role": "user", "content": observation["message"]}],
        "ability": "search",
        "reward_model": {"style": "rule", "ground_truth": {"target": answers}},
        "agent_name": AGENT_NAME,
        "extra_info": extra_info,
    }
