"""Samples the episodes of an environment: question, noise probability and seed.

Every environment and every sub-environment of a vector has its own sampler, so that an equal seed
gives equal episodes in all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import numpy as np

from zs_env.episode import Episode, EpisodeConfig
from zs_env.noise import Noise, build_noise, check_noise, check_supported
from zs_env.questions.question import (
    Question,
    QuestionDataset,
    check_questions,
    generates_questions,
)
from zs_env.search.engine import SearchEngine
from zs_env.text.numbers import as_int, as_probability
from zs_env.text.suggestions import check_names

OPTIONS = ("noise_probability", "training_step", "group_seed", "question_index", "flipped_turn")
_MAX_SEED = 2**63
_LOGGER = logging.getLogger(__name__)
QuestionOrder = Literal["random", "shuffled"]


class QuestionsWithinLimits(list[Question]):
    """Questions whose prompts were checked, so that many environments can share them.

    Attributes:
        config: the rules under which they were checked.
    """

    def __init__(self, questions: Iterable[Question], config: EpisodeConfig) -> None:
        super().__init__(questions)
        self.config = config


def questions_within_limits(questions: QuestionDataset, config: EpisodeConfig) -> QuestionDataset:
    """Check the prompts of all questions, see `zs_env.episode.Limits.overlong_prompts`.

    Sets of more than `MAX_LISTED_QUESTIONS` are not checked, because they generate their questions.
    The prompts of a world's questions are bounded by its templates; in other generated sets a
    longer prompt is an error of its episode.

    Returns:
        The same set, or a list of the questions that are not skipped.

    Raises:
        ValueError: if a prompt is too long, or all are and none remains.
    """
    if generates_questions(questions):
        return questions
    if isinstance(questions, QuestionsWithinLimits) and questions.config == config:
        return questions
    limit = config.limits.max_prompt_chars
    listed = [questions[index] for index in range(len(questions))]
    lengths = [len(config.prompt_of(question)) for question in listed]
    kept = [one for one, length in zip(listed, lengths, strict=True) if length <= limit]
    if len(kept) == len(listed):
        return questions
    place = next(place for place, length in enumerate(lengths) if length > limit)
    found = (
        f"the prompts of {len(listed) - len(kept):,} of {len(listed):,} questions are longer "
        f"than max_prompt_chars={limit:,}, such as that of {listed[place].id!r} with "
        f"{lengths[place]:,} characters"
    )
    if not kept:
        raise ValueError(f"{found}; raise the limit, since no question remains")
    if config.limits.overlong_prompts == "error":
        raise ValueError(f'{found}; raise the limit, or skip them with overlong_prompts="skip"')
    _LOGGER.warning("%s; they are skipped", found)
    return kept


class EpisodeSampler:
    """Samples the episodes of one environment.

    Args:
        questions: at least one question.
        config: the rules of every episode.
        noise: see `build_noise`; the step of a schedule is `episode_count`.
        order: "random" draws each question from all questions. "shuffled" draws without
            replacement: an epoch has each question once, and then the next epoch begins.
        engine: the engine of the episodes; it must support the noise.

    Attributes:
        episode_count: number of episodes since the last `reset`.

    Raises:
        ValueError: if there are no questions, the noise is out of range or not supported by the
            engine, or the order is unknown.
    """

    def __init__(
        self,
        questions: QuestionDataset,
        config: EpisodeConfig,
        noise: float | str | Noise | Mapping[str, Any],
        order: QuestionOrder = "random",
        *,
        engine: SearchEngine,
    ) -> None:
        if order not in get_args(QuestionOrder):
            raise ValueError(f"got order={order!r}, expected one of {get_args(QuestionOrder)}")
        check_questions(questions)
        self.num_questions = len(questions)
        self.questions = questions
        self.config = config
        self.noise = build_noise(noise)
        check_noise(engine, self.noise, config.noise_kinds)
        self._engine = engine
        self.order: QuestionOrder = order
        self._moved: dict[int, int] = {}  # places of the epoch's order that were exchanged
        self._place = 0  # in the epoch
        self.episode_count = 0

    def reset(self) -> None:
        """Set `episode_count` to 0, begin a new epoch and reset the noise."""
        self.episode_count = 0
        self._moved, self._place = {}, 0
        reset_noise = getattr(self.noise, "reset", None)
        if reset_noise is not None:
            reset_noise()

    def sample(self, rng: np.random.Generator, options: Mapping[str, Any] | None = None) -> Episode:
        """Return the next episode.

        The question and the seed are drawn even if options replace them, so that an option has no
        effect on other draws.

        Raises:
            ValueError: if an option is unknown or out of range.
        """
        options = options or {}
        check_names("reset option", options, OPTIONS)
        index = self._draw_index(rng)
        seed = episode_id = int(rng.integers(_MAX_SEED))
        if options.get("question_index") is not None:
            index = as_int("question_index", options["question_index"])
            if not 0 <= index < self.num_questions:
                raise ValueError(
                    f"question_index must be in [0, {self.num_questions}), got {index}"
                )
        if options.get("group_seed") is not None:
            seed = as_int("group_seed", options["group_seed"])
        flipped = options.get("flipped_turn")
        if flipped is not None:
            flipped = as_int("flipped_turn", flipped, low=0)
        probability = self._probability(options)
        kinds = self.config.noise_kinds
        if flipped is not None:
            check_supported(self._engine, kinds, "flipped_turn", flipped)
        elif probability > 0.0:
            check_supported(self._engine, kinds, "noise", probability)
        self.episode_count += 1
        return Episode(
            self.questions[index],
            config=self.config,
            noise_probability=probability,
            seed=seed,
            episode_id=episode_id,
            flipped_turn=flipped,
            can_open=self._engine.can_open,
        )

    def outcome(self, episode: Episode) -> tuple[float, bool, bool]:
        """Return reward, terminated and truncated of an episode after a step.

        The reward of a finished episode is recorded in the noise, so call this once a step.
        """
        finished = episode.finished
        if finished is None:
            return 0.0, False, False
        reward = float(sum(episode.reward_terms.values()))
        # An engine failure says nothing about the agent.
        record = getattr(self.noise, "record", None)
        if record is not None and episode.failure is None:
            record(reward)
        terminated = finished.terminated
        return reward, terminated, not terminated

    def _draw_index(self, rng: np.random.Generator) -> int:
        if self.order == "random":
            return int(rng.integers(self.num_questions))
        # Fisher and Yates' shuffle, one place at a time, so that a dataset may be unlimited.
        if self._place == self.num_questions:
            self._moved, self._place = {}, 0
        place, other = self._place, int(rng.integers(self._place, self.num_questions))
        self._place += 1
        last = self._moved.pop(place, place)
        if other == place:
            return last
        index = self._moved.get(other, other)
        self._moved[other] = last
        return index

    def _probability(self, options: Mapping[str, Any]) -> float:
        given, step = options.get("noise_probability"), options.get("training_step")
        if given is None:
            step = self.episode_count if step is None else as_int("training_step", step, low=0)
            given = self.noise.probability(step)
        return as_probability("noise_probability", given)
