"""Agents with a fixed scheme of searching, without a language model."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST_QUOTE = 8000  # characters; an action is cut at 8,192 by default
_NAME = re.compile(r"(?<!^)\b[A-Z]\w*(?:[ '-]+[A-Z]\w*)*")
_SPAN = re.compile(r"\b[A-Z]\w*(?:[ '-]+[A-Z]\w*)*|\b\d{3,4}\b")
_WORD = re.compile(r"\w[\w'-]*")


class RandomWords:
    """Searches 1 to 4 random words of the question, answers 1 to 3 adjacent words of a page.

    Args:
        answer_probability: probability of an answer in a turn.
        malformed_probability: probability of neither a search nor an answer.
    """

    def __init__(self, answer_probability: float = 0.4, malformed_probability: float = 0.1) -> None:
        self.answer_probability = answer_probability
        self.malformed_probability = malformed_probability
        self._random = random.Random(0)

    def reset(self, seed: int) -> None:
        """Start an episode; the same seed gives the same actions."""
        self._random = random.Random(seed)

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return a search, an answer, or a text without an action."""
        rng = self._random
        question = _WORD.findall(observation["question"]) or ["nothing"]
        draw = rng.random()
        if draw < self.malformed_probability:
            return rng.choice(question)
        if draw < self.malformed_probability + self.answer_probability:
            words = _WORD.findall(" ".join(observation["documents"])) or question
            first, length = rng.randrange(len(words)), rng.randint(1, 3)
            return f"<answer>{' '.join(words[first : first + length])}</answer>"
        query = rng.sample(question, min(len(question), rng.randint(1, 4)))
        return f"<search>{' '.join(query)}</search>"


class AnswerAtOnce:
    """Answers with the first name in the question, or "yes" without one.

    Its score measures how often the question contains its own answer, as comparisons do.
    """

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return an answer."""
        name = _NAME.search(observation["question"])
        return f"<answer>{name[0] if name else 'yes'}</answer>"


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


def capitalised_spans(text: str) -> list[str]:
    """Return capitalised names and numbers of three or four digits, in order."""
    return _SPAN.findall(text)


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
