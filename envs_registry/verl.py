"""Our environments as verl names them: an environment with overrides, and rows of a data set.

A row of verl's says with `agent_name` which loop plays it and, here, with `data_source` which of
the loop's environments its question belongs to. verl itself is not needed to write rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from zs_env.config import build_engine, build_questions, make_env
from zs_env.env import ZeroSearchEnv

AGENT_NAME = "zerosearch"


class SharedEnvironment:
    """An environment id with overrides, whose questions and engine are built once.

    Args:
        spec: `id`, and whatever of `zs_env.config.make_env` it is to override, as JSON values.

    Raises:
        ValueError: if there is no `id`, or a question or engine spec is wrong.
        gymnasium.error.Error: if nothing is registered under the id.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        if "id" not in spec:
            raise ValueError(
                f"an environment needs an 'id' such as 'ZeroSearch-v0', got {dict(spec)!r}"
            )
        settings = {**gymnasium.spec(spec["id"]).kwargs, **spec}
        del settings["id"]
        self.questions = build_questions(settings.pop("questions"))
        engine = settings.pop("engine")
        self.engine = None if engine is None else build_engine(engine, self.questions)
        self._settings = settings

    def make(self) -> ZeroSearchEnv:
        """Return an environment of its own for an episode; closing it leaves the engine open."""
        return make_env(self.questions, self.engine, **self._settings)


def verl_row(
    env: ZeroSearchEnv,
    index: int,
    *,
    data_source: str,
    noise_probability: float | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Return a question as a row of verl's data set, as JSON values.

    verl measures the prompt to leave out what is too long, and shows it in its logs; what the
    policy reads comes from the loop's own environment.

    Args:
        env: whose question it is; it is reset.
        index: of the question.
        data_source: name of the loop's environment.
        noise_probability: of this row's episodes; None leaves it to the environment's schedule.
        seed: of the row's first episode, every time it is played; None gives another at each step.
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
