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
    """Searches 1 to 4 random words of the question, or answers 1 to 3 adjacent words of a page.

    The probability of an answer is 0.4 in each turn, and that of a text without an action is 0.1.
    """

    def __init__(self) -> None:
        self._random = random.Random(0)

    def reset(self, seed: int) -> None:
        """Start an episode; the same seed gives the same actions."""
        self._random = random.Random(seed)

    def act(self, observation: Mapping[str, Any]) -> str:
        rng = self._random
        question = _WORD.findall(observation["question"]) or ["nothing"]
        draw = rng.random()
        if draw < 0.1:
            return rng.choice(question)
        if draw < 0.5:
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
        name = _NAME.search(observation["question"])
        return f"<answer>{name[0] if name else 'yes'}</answer>"


class SearchOnce:
    """Searches the question itself, then answers with the most frequent name or year of the page.

    Names in the question are excluded; ties go to the first on the page.
    """

    def act(self, observation: Mapping[str, Any]) -> str:
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
        return " ".join(documents)[:_LONGEST_QUOTE]


class SearchEachName:
    """Searches the question, then each name in it, in at most three searches.

    The answer is the most frequent name or year of the last page.
    """

    def act(self, observation: Mapping[str, Any]) -> str:
        question, transcript = observation["question"], observation["transcript"]
        # The first word is always capitalised.
        names = _SPAN.findall(question.partition(" ")[2])
        for query in list(dict.fromkeys([question, *names]))[:3]:
            if f"<search>{query}</search>" not in transcript:
                return f"<search>{query}</search>"
        return f"<answer>{most_frequent_span(question, observation['documents'])}</answer>"


def most_frequent_span(question: str, documents: Sequence[str]) -> str:
    """Return the most frequent name or number of 3 or 4 digits that is not in the question."""
    asked = question.lower()
    counts = Counter(
        span
        for document in documents
        for span in _SPAN.findall(document)
        if span.lower() not in asked and span.lower() not in ("the", "a", "an")
    )
    best = counts.most_common(1)
    return best[0][0] if best else "unknown"
