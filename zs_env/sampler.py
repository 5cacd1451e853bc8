"""Deals episodes: which question, under how much noise, with which luck.

Every environment and every sub-environment of a vector has a dealer of its own, so that the same
seed gives the same episodes in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from zs_env.episode import Episode, EpisodeConfig
from zs_env.noise import AdaptiveNoise, Noise, NoiseSchedule
from zs_env.questions.question import QuestionDataset
from zs_env.text.suggestions import unknown_name

OPTIONS = (
    "noise_probability",
    "training_step",
    "group_seed",
    "question_index",
    "flipped_turn",
)
_MAX_SEED = 2**63


def build_noise(noise: float | Noise | Mapping[str, Any]) -> Noise:
    """Return a noise of its own state.

    Args:
        noise: a constant probability in [0, 1]; a schedule; or a schedule's values as a mapping,
            with `"kind": "schedule"` (the default) or `"adaptive"`.

    Raises:
        ValueError: if a value is out of range or the kind is unknown.
    """
    if isinstance(noise, Mapping):
        values = dict(noise)
        kind = values.pop("kind", "schedule")
        kinds = {"schedule": NoiseSchedule, "adaptive": AdaptiveNoise}
        if kind not in kinds:
            raise unknown_name("noise kind", kind, kinds)
        return kinds[kind](**values)
    if isinstance(noise, int | float):
        return NoiseSchedule(float(noise), float(noise), shape="constant")
    return deepcopy(noise)


class EpisodeSampler:
    """Deals one environment's episodes.

    Args:
        questions: at least one.
        config: the rules of every episode.
        noise: as `build_noise` takes it; its step is the number of episodes dealt before.

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
        """Count episodes from 0 again and forget all rewards."""
        self.episode_count = 0
        if isinstance(self.noise, AdaptiveNoise):
            self.noise.reset()

    def sample(self, rng: np.random.Generator, options: Mapping[str, Any] | None = None) -> Episode:
        """Return the next episode.

        Question and seed are drawn whether or not options replace them, so that an option changes
        nothing but what it names.

        Raises:
            ValueError: if an option is unknown or out of range, or two contradict each other.
        """
        options = options or {}
        for name in options:
            if name not in OPTIONS:
                raise unknown_name("reset option", name, OPTIONS)
        index = int(rng.integers(self.num_questions))
        seed = episode_id = int(rng.integers(_MAX_SEED))
        if options.get("question_index") is not None:
            index = int(options["question_index"])
            if not 0 <= index < self.num_questions:
                raise ValueError(
                    f"question_index is in [0, {self.num_questions}), got {index}; "
                    "there are no more questions"
                )
        if options.get("group_seed") is not None:
            seed = int(options["group_seed"])
        flipped = options.get("flipped_turn")
        if flipped is not None and flipped < 0:
            raise ValueError(f"flipped_turn counts turns from 0, got {flipped}")
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
        """Return reward, terminated and truncated of an episode after a step."""
        finished = episode.finished
        if finished is None:
            return 0.0, False, False
        reward = float(sum(episode.reward_terms.values()))
        # A void episode says nothing about the agent.
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
            raise ValueError(f"noise_probability is in [0, 1], got {given}")
        return probability
