"""Searches for the question, then for each name in it: many short queries, as agents write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.baselines.search_once import capitalised_spans, most_frequent_span


class SearchNames:
    """Searches the question, then the names that it holds, then answers from the last page.

    Args:
        max_searches: at most, the question's own included.
    """

    def __init__(self, max_searches: int = 3) -> None:
        if max_searches < 1:
            raise ValueError(f"max_searches must be at least 1, got {max_searches}")
        self.max_searches = max_searches

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return the next search that was not made yet, or the answer."""
        question, transcript = observation["question"], observation["transcript"]
        # The first word is capitalised whatever it is.
        names = capitalised_spans(question.partition(" ")[2])
        queries = list(dict.fromkeys([question, *names]))[: self.max_searches]
        for query in queries:
            if f"<search>{query}</search>" not in transcript:
                return f"<search>{query}</search>"
        return f"<answer>{most_frequent_span(question, observation['documents'])}</answer>"
