"""The rows of a verl data set.

In a row `agent_name` selects verl's agent loop and `data_source` the environment of that loop. verl
need not be installed.
"""

from __future__ import annotations

from typing import Any

from zs_env.env import ZeroSearchEnv

AGENT_NAME = "zerosearch"


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
        index: of the question, from 0.
        data_source: name of the environment in the agent loop.
        noise_probability: of the episodes, in [0, 1]; None for the environment's schedule.
        seed: seed of the first episode of the row in every step; None for a new seed in each step.

    Raises:
        ValueError: if the environment has no question with this index.
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
