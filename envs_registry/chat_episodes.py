"""Episodes that a framework plays as a chat: their settings, their turns and their result."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs_registry.shared_environment import shared_environment
from zs_env.env import ZeroSearchEnv
from zs_env.transcripts.transcript import Transcript


@dataclass(kw_only=True, slots=True)
class EpisodeSettings:
    """Settings of the episodes of an environment, and how many have been started.

    Attributes:
        environment: `id`, and arguments of `zs_env.config.make_env` as JSON values.
        noise_probability: of every episode, in [0, 1]; None for the environment's schedule.
        training_step: step of the noise schedule at the start, from 0.
        episodes_per_step: number of episodes, at least 1, after which the step of the schedule
            rises by 1; None keeps it.
        seed: the episodes of a question depend on it and on their order.
        share_group_seed: whether all episodes of a question get the same pages for the same
            queries.
    """

    environment: Mapping[str, Any]
    noise_probability: float | None = None
    training_step: int = 0
    episodes_per_step: int | None = None
    seed: int = 0
    share_group_seed: bool = False
    _num_started: Counter[int] = field(default_factory=Counter, init=False, repr=False)

    def make(self) -> ZeroSearchEnv:
        """Return a new environment; all share questions and engine."""
        return shared_environment(json.dumps(dict(self.environment), sort_keys=True)).make()

    def reset_settings(self, question_index: int) -> dict[str, Any]:
        """Return the arguments of the environment's reset for the next episode of a question.

        Args:
            question_index: from 0, below the environment's `num_questions`.
        """
        number, total = self._num_started[question_index], self._num_started.total()
        self._num_started[question_index] += 1
        step = self.training_step
        if self.episodes_per_step is not None:
            step += total // self.episodes_per_step
        options: dict[str, Any] = {"question_index": question_index, "training_step": step}
        if self.noise_probability is not None:
            options["noise_probability"] = self.noise_probability
        sequence = np.random.SeedSequence((self.seed, question_index))
        group_seed, *_, own_seed = sequence.generate_state(number + 2).tolist()
        if self.share_group_seed:
            options["group_seed"] = group_seed
        return {"seed": own_seed, "options": options}


def act(env: ZeroSearchEnv, text: str) -> str | None:
    """Act and return the environment's message; None if the episode is over.

    Raises:
        gymnasium.error.ResetNeeded: if it was over before.
    """
    observation, _, terminated, truncated, _ = env.step(text)
    return None if terminated or truncated else observation["message"]


def summary(transcript: Transcript) -> dict[str, Any]:
    """Return the result of an ended episode as JSON values.

    Returns:
        `reason` ("answer" or "turn_limit"), `reward_terms` (weighted terms by name; their sum is
        the reward) and `metrics`: the scores `f1`, `exact_match` and `cover_match` of the answer,
        the `noise_probability` (all in [0, 1]), and `num_searches`.
    """
    return {
        "reason": transcript.reason,
        "reward_terms": dict(transcript.reward_terms),
        "metrics": {
            **transcript.scores(),
            "num_searches": float(transcript.num_searches),
            "noise_probability": transcript.noise_probability,
        },
    }
