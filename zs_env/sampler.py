"""Samples the episodes of an environment: question, noise probability and seed.

Every environment and every sub-environment of a vector has its own sampler, so that an equal seed
gives equal episodes in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zs_env.episode import Episode, EpisodeConfig
from zs_env.noise import AdaptiveNoise, Noise, build_noise
from zs_env.questions.question import QuestionDataset
from zs_env.text.suggestions import check_names

OPTIONS = ("noise_probability", "training_step", "group_seed", "question_index", "flipped_turn")
_MAX_SEED = 2**63


class EpisodeSampler:
    """Samples the episodes of one environment.

    Args:
        questions: at least one question.
        config: the rules of every episode.
        noise: see `build_noise`; the step of a schedule is `episode_count`.

    Attributes:
        episode_count: number of episodes since the last `reset`.

    Raises:
        ValueError: if there are no questions or the noise is out of range.
    """

    def __init__(
        self,
        questions: QuestionDataset,
        config: EpisodeConfig,
        noise: float | Noise | Mapping[str, Any],
    ) -> None:
        self.num_questions = len(questions)
        if self.num_questions < 1:
            raise ValueError("an environment needs at least one question, got none")
        self.questions = questions
        self.config = config
        self.noise = build_noise(noise)
        self.episode_count = 0

    def reset(self) -> None:
        """Set `episode_count` to 0 and clear the rewards of an adaptive noise."""
        self.episode_count = 0
        if isinstance(self.noise, AdaptiveNoise):
            self.noise.reset()

    def sample(self, rng: np.random.Generator, options: Mapping[str, Any] | None = None) -> Episode:
        """Return the next episode.

        The question and the seed are drawn even if options replace them, so that an option has no
        effect on other draws.

        Raises:
            ValueError: if an option is unknown or out of range.
        """
        options = options or {}
        check_names("reset option", options, OPTIONS)
        index = int(rng.integers(self.num_questions))
        seed = episode_id = int(rng.integers(_MAX_SEED))
        if options.get("question_index") is not None:
            index = int(options["question_index"])
            if not 0 <= index < self.num_questions:
                raise ValueError(
                    f"question_index must be in [0, {self.num_questions}), got {index}"
                )
        if options.get("group_seed") is not None:
            seed = int(options["group_seed"])
        flipped = options.get("flipped_turn")
        if flipped is not None and flipped < 0:
            raise ValueError(f"flipped_turn must be at least 0, got {flipped}")
        probability = self._probability(options)
        self.episode_count += 1
        return Episode(
            self.questions[index],
            config=self.config,
            noise_probability=probability,
            seed=seed,
            episode_id=episode_id,
            flipped_turn=None if flipped is None else int(flipped),
        )

    def outcome(self, episode: Episode) -> tuple[float, bool, bool]:
        """Return reward, terminated and truncated of an episode after a step.

        The reward of a finished episode is recorded in an adaptive noise, so call this once a step.
        """
        finished = episode.finished
        if finished is None:
            return 0.0, False, False
        reward = float(sum(episode.reward_terms.values()))
        # An engine failure says nothing about the agent.
        if isinstance(self.noise, AdaptiveNoise) and episode.failure is None:
            self.noise.record(reward)
        terminated = finished.terminated
        return reward, terminated, not terminated

    def _probability(self, options: Mapping[str, Any]) -> float:
        given, step = options.get("noise_probability"), options.get("training_step")
        if given is None:
            return self.noise.probability(self.episode_count if step is None else int(step))
        probability = float(given)
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"noise_probability must be in [0, 1], got {given}")
        return probability
