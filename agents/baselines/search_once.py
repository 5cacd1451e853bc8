"""Agents with one search and one answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST_QUOTE = 8000  # characters; an action is cut at 8,192 by default
_SPAN = re.compile(r"\b[A-Z]\w*(?:[ '-]+[A-Z]\w*)*|\b\d{3,4}\b")


class SearchOnce:
    """Searches the question itself, then answers with the most frequent name or year of the page.

    Names in the question are excluded; ties go to the first on the page.
    """

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return a search in the first turn and an answer in the second."""
        question = observation["question"]
        if observation["message"] == observation["transcript"]:  # the first turn
            return f"<search>{question}</search>"
        return f"<answer>{self.answer(question, observation['documents'])}</answer>"

    def answer(self, question: str, documents: Sequence[str]) -> str:
        """Return the answer for a page."""
        return most_frequent_span(question, documents)


class QuotePage(SearchOnce):
    """Searches the question itself, then answers with the whole text of the page.

    Its cover match is the share of pages that contain an answer.
    """

    def answer(self, question: str, documents: Sequence[str]) -> str:
        """Return the page's text, cut to the maximum length of an action."""
        return " ".join(documents)[:_LONGEST_QUOTE]


def capitalised_spans(text: str) -> list[str]:
    """Return capitalised names and numbers of three or four digits, in order."""
    return [match[0] for match in _SPAN.finditer(text)]


def most_frequent_span(question: str, documents: Sequence[str]) -> str:
    """Return the most frequent name or year of the documents that is not in the question."""
    asked = question.lower()
    counts = Counter(
        span
        for document in documents
        for span in capitalised_spans(document)
        if span.lower() not in asked and span.lower() not in ("the", "a", "an")
    )
    best = counts.most_common(1)
    return best[0][0] if best else "unknown"
