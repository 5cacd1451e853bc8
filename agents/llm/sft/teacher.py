"""The base class of the teachers."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from agents.llm.sft.quotations import OPENED
from zs_env.episode import Episode, EpisodeConfig
from zs_env.metrics import contains_answer
from zs_env.questions.question import Question
from zs_env.search.engine import SearchEngine, search_checked
from zs_env.search.postprocess import split_document
from zs_env.search.several_queries import request_of
from zs_env.search.types import Document, SearchError, SearchPage, SearchRequest
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
        self._engine = engine
        seed = self.rng.getrandbits(63)
        episode = Episode(
            self.question,
            config=config,
            noise_probability=noise_probability,
            seed=seed,
            can_open=engine.can_open,
        )
        while episode.finished is None:
            outcome = episode.act(self.act(episode))
            if isinstance(outcome, SearchRequest):
                (page,) = search_checked(engine, [outcome])
                if isinstance(page, SearchError):
                    raise page
                episode.receive(page)
        return episode.transcript()

    def open_answer(self, episode: Episode, documents: Sequence[Document]) -> str | None:
        """Return the turn that opens the first of some documents whose full text has an answer.

        Args:
            episode: an episode without an answer on its pages so far.
            documents: documents of the latest page.

        Returns:
            None if the agent cannot open, the page is no page of a search, or no document has an
            answer.
        """
        turn = episode.turns[-1] if episode.turns else None
        if turn is None or turn.request is None or not turn.is_search or not documents:
            return None
        if "open" not in episode.config.tools or not self._engine.can_open:
            return None
        numbers = [document.rank + 1 for document in documents]
        opens: list[SearchRequest] = []
        for number in numbers:
            request, document = request_of(turn.request, turn.documents, number)
            opens.append(replace(request, document=document))
        limit = episode.config.limits.max_document_chars
        for number, page in zip(numbers, search_checked(self._engine, opens), strict=True):
            if not isinstance(page, SearchPage):
                continue
            for part, shown in enumerate(split_document(page.documents[0], limit), 1):
                if contains_answer(shown.text, self.question.answers):
                    thought = self.rng.choice(OPENED).format(number=number)
                    place = f"{number} p{part}" if part > 1 else str(number)
                    return f"<think>{thought}</think><open>{place}</open>"
        return None
