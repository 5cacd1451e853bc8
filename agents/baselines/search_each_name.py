"""An agent that searches the question and then each name in it: many short queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.baselines.search_once import capitalised_spans, most_frequent_span


class SearchEachName:
    """Searches the question, then each name in it, then answers from the last page.

    Args:
        max_searches: maximum number of searches, including that of the question.
    """

    def __init__(self, max_searches: int = 3) -> None:
        if max_searches < 1:
            raise ValueError(f"max_searches must be at least 1, got {max_searches}")
        self.max_searches = max_searches

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return the next search, or the answer."""
        question, transcript = observation["question"], observation["transcript"]
        # The first word is always capitalised.
        names = capitalised_spans(question.partition(" ")[2])
        queries = list(dict.fromkeys([question, *names]))[: self.max_searches]
        for query in queries:
            if f"<search>{query}</search>" not in transcript:
                return f"<search>{query}</search>"
        return f"<answer>{most_frequent_span(question, observation['documents'])}</answer>"
