"""What the teachers write: thoughts before a search, and quotations of documents."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zs_env.metrics import normalize_answer
from zs_env.search.types import Document
from zs_env.text.words import STOPWORDS

# Thoughts before the first search, and before a search after a page that did not help.
FIRST_SEARCH = ("I look up {topic}.", "First, {topic}.", "I need to read about {topic}.")
REPEATED_SEARCH = (
    "This page does not help. I try again: {topic}.",
    "Nothing useful here. Other words: {topic}.",
    "Not there. I search again for {topic}.",
)
# Thoughts before a document is opened.
OPENED = ("I open document {number}.", "Document {number} in full.", "I read on in {number}.")
_WINDOW_WORDS = 12
_PARENTHESIS = re.compile(r"\s*\([^)]*\)")
# Stripped from both ends of a quotation; the last is a dash, as between dates.
_EDGES = ' ,;."\u2013'
# Question words, which say nothing about the topic.
_ASKING_WORDS = "whose whom name named called kind type one either well known"
_ASKING = frozenset(_ASKING_WORDS.split())


def core(title: str) -> str:
    """Return a title without the parenthesis that distinguishes it from equal names."""
    return _PARENTHESIS.sub("", title).strip() or title


def search_words(text: str) -> list[str]:
    """Return the words of a question that are useful in a query."""
    words = [word.strip("?,.;:!\"'()") for word in text.split()]
    return [w for w in words if w and w.lower() not in STOPWORDS and w.lower() not in _ASKING]


def quote(document: Document, words: Sequence[str]) -> str:
    return f'{core(document.title)}: "{" ".join(words).strip(_EDGES)}".'


def window(text: str, wanted: str) -> list[str]:
    """Return the words around the first occurrence of `wanted`; empty if there is none."""
    words = text.split()
    normalized = [
        (position, word) for position, raw in enumerate(words) if (word := normalize_answer(raw))
    ]
    target = normalize_answer(wanted).split()
    if not target:
        return []
    for start in range(len(normalized) - len(target) + 1):
        if [word for _, word in normalized[start : start + len(target)]] == target:
            first, last = normalized[start][0], normalized[start + len(target) - 1][0] + 1
            begin = min(max(0, last - _WINDOW_WORDS), first)
            for position in range(first - 1, begin - 1, -1):
                if words[position].endswith((".", ";")):
                    begin = position + 1
                    break
            return words[begin : max(last, begin + 4)][: _WINDOW_WORDS + len(target)]
    return []


def after_copula(text: str) -> list[str]:
    """Return the words from the first form of "to be" on, which define the subject."""
    words = text.split()
    verbs = (i for i, word in enumerate(words[:40]) if word in ("is", "was", "are", "were"))
    begin = next(verbs, 0)
    return words[begin : begin + 10]
