"""The base class of the teachers."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod

from zs_env.episode import Episode, EpisodeConfig
from zs_env.questions.question import Question
from zs_env.search.engine import SearchEngine
from zs_env.search.types import SearchError, SearchRequest
from zs_env.transcripts.transcript import Transcript


class Teacher(ABC):
    """Plays one episode of a question.

    Args:
        question: the question.
        rng: random source of the teacher's decisions and of the episode's seed.
    """

    def __init__(self, question: Question, rng: random.Random) -> None:
        self.question, self.rng = question, rng

    @abstractmethod
    def act(self, episode: Episode) -> str:
        """Return the next turn after the episode's latest page."""

    def play(
        self, engine: SearchEngine, *, config: EpisodeConfig, noise_probability: float
    ) -> Transcript:
        """Play the episode to its end.

        Args:
            engine: answers the searches.
            config: settings of the episode.
            noise_probability: noise probability of each search, in [0, 1].

        Raises:
            SearchError: if the engine cannot answer.
        """
        seed = self.rng.getrandbits(63)
        episode = Episode(
            self.question, config=config, noise_probability=noise_probability, seed=seed
        )
        while episode.finished is None:
            outcome = episode.act(self.act(episode))
            if isinstance(outcome, SearchRequest):
                page = engine.search([outcome])[0]
                if isinstance(page, SearchError):
                    raise page
                episode.receive(page)
        return episode.transcript()
