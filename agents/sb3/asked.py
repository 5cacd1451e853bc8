"""A question taken apart: the names in it, and the phrases that say what is asked of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from agents.baselines.search_once import span_matches
from zs_env.text.words import STOPWORDS

_WORD = re.compile(r"\w[\w'-]*")
_MARK = re.compile(r"\w[\w'-]*|[^\w\s]")
_ARTICLES = ("the", "a", "an")


@dataclass(frozen=True, slots=True)
class Item:
    """A name or a phrase of a question.

    Attributes:
        text: as it stands there.
        is_name: whether it is a name or a number; else a run of lower-case content words.
        joint: function words and marks from it to the next item, articles left out: "of" in
            "the mayor of X", "" in "the author X".
    """

    text: str
    is_name: bool
    joint: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as a row of items, in the order in which they stand.

    Attributes:
        text: the question.
        items: its names and phrases.
        words: all its words but those of names, lower case.
        names: number of each name's first item.
        phrases: words of each phrase, lower case, by the number of its item.
    """

    text: str
    items: tuple[Item, ...]
    words: tuple[str, ...]
    names: Mapping[str, int]
    phrases: Mapping[int, tuple[str, ...]]


def names_in(text: str) -> Iterator[tuple[str, int]]:
    """Yield names and numbers with where they start; "The" and its like begin no name."""
    for span in span_matches(text):
        for word in _WORD.finditer(span[0]):
            if word[0].lower() not in STOPWORDS:
                yield span[0][word.start() :], span.start() + word.start()
                break


@lru_cache(maxsize=4096)
def read_question(text: str) -> Asked:
    """Take a question apart."""
    pieces = sorted([*_name_pieces(text), *_phrase_pieces(text)])
    ends = [*(start for start, _, _ in pieces), len(text)][1:]
    items = tuple(
        Item(piece, is_name, _joint(text[start + len(piece) : end]))
        for (start, piece, is_name), end in zip(pieces, ends, strict=True)
    )
    words = tuple(word.lower() for word in _WORD.findall(_without_names(text)))
    names: dict[str, int] = {}
    for place, item in enumerate(items):
        if item.is_name:
            names.setdefault(item.text, place)
    phrases = {
        place: tuple(item.text.lower().split())
        for place, item in enumerate(items)
        if not item.is_name
    }
    return Asked(text, items, words, names, phrases)


def _name_pieces(text: str) -> Iterator[tuple[int, str, bool]]:
    return ((start, name, True) for name, start in names_in(text))


def _phrase_pieces(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield runs of content words with nothing but a blank between them."""
    masked = _without_names(text)
    run: re.Match[str] | None = None
    end = 0
    for match in _WORD.finditer(masked):
        if match[0].lower() in STOPWORDS:
            continue
        if run is not None and masked[end : match.start()] != " ":
            yield run.start(), text[run.start() : end], False
            run = None
        run, end = run or match, match.end()
    if run is not None:
        yield run.start(), text[run.start() : end], False


def _without_names(text: str) -> str:
    """Return the text with other signs, as many, in place of its names."""
    for name, start in names_in(text):
        text = text[:start] + "\n" * len(name) + text[start + len(name) :]
    return text


def _joint(between: str) -> str:
    return " ".join(mark for mark in _MARK.findall(between) if mark.lower() not in _ARTICLES)
