"""What the teachers share: playing an episode."""

from __future__ import annotations

from typing import Protocol

from zs_env.episode import Episode
from zs_env.search.engine import SearchEngine
from zs_env.search.types import SearchError, SearchRequest
from zs_env.transcripts.transcript import Transcript


class Teacher(Protocol):
    """Acts in one episode."""

    def act(self, episode: Episode) -> str:
        """Return the text of the next turn."""
        ...


def play_episode(episode: Episode, teacher: Teacher, engine: SearchEngine) -> Transcript:
    """Play an episode to its end.

    Raises:
        SearchError: if the engine cannot answer.
    """
    while episode.finished is None:
        outcome = episode.act(teacher.act(episode))
        if isinstance(outcome, SearchRequest):
            page = engine.search([outcome])[0]
            if isinstance(page, SearchError):
                raise page
            episode.receive(page)
    return episode.transcript()
