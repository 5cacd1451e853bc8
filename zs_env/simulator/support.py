"""The support rate: how much of a document's names and numbers occurs in its sources."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise

from zs_env.text.words import STOPWORDS, content_words

MIN_SUPPORT = 0.8  # below it, a document fails the check "unsupported"

_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+")
_THOUSANDS_SEPARATOR = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# The text between the words of one name: a space, a hyphen, an apostrophe, or an initial's point.
_INSIDE_NAME = re.compile(r"[ \u00a0]|[-\u2010\u2011'\u2019&]|\.[ \u00a0]?")
_SENTENCE_END = re.compile(r"[.!?:;][\"'\u201d\u2019)\]]*\s|\n")
_CONNECTORS = frozenset(("of", "de", "del", "der", "den", "di", "da", "du", "la", "van", "von"))


def support_rate(document: str, sources: Sequence[str]) -> float | None:
    """Return the share of a document's names and numbers that occur in one of its sources.

    Each distinct name and number counts once:

    - A number is a run of digits, with thousands separators, decimals or hours and minutes; "1,250"
      equals "1250". A date counts as its numbers and the name of its month.
    - A name is a sequence of capitalised words, possibly joined by "of", "de", "van" and the like,
      without function words at its start. It occurs in a source that has the same words in the same
      order; case and accents have no effect. A single capitalised word at the start of a sentence
      does not count, because its position may be the only reason for the capital. In a longer name
      at the start of a sentence, the source may lack the first word.
    - In a script without capitals, such as Arabic, Chinese or Thai, the pairs of neighbouring
      characters of the content words count in place of names.

    Words in lower case are not checked, so a false statement about the right names is not found.

    Args:
        document: a generated text.
        sources: the texts that it was generated from.

    Returns:
        The share in [0, 1]; None for a document without names and numbers.
    """
    if _is_caseless(document):
        pairs = _character_pairs(document) | set(_numbers(document))
        known = set[str]().union(
            *(_character_pairs(source) | set(_numbers(source)) for source in sources)
        )
        return len(pairs & known) / len(pairs) if pairs else None
    folded = [f" {' '.join(_folded_words(source))} " for source in sources]
    facts: dict[tuple[str, ...], bool] = {(number,): False for number in _numbers(document)}
    for words, starts_sentence in _names(document):
        facts[words] = facts.get(words, False) or starts_sentence
    if not facts:
        return None
    supported = 0
    for words, starts_sentence in facts.items():
        forms = [words, words[1:]] if starts_sentence and len(words) > 1 else [words]
        supported += any(f" {' '.join(form)} " in source for form in forms for source in folded)
    return supported / len(facts)


def _names(text: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield each name's folded words, and whether the name starts a sentence."""
    name: list[str] = []
    starts_sentence = False
    connectors: list[str] = []
    end = 0

    def finish() -> Iterator[tuple[tuple[str, ...], bool]]:
        words = list(name)
        at_start = starts_sentence
        while words and words[0] in STOPWORDS:
            words, at_start = words[1:], False
        if words and not (at_start and len(words) == 1):
            yield tuple(words), at_start

    for token in _TOKEN.finditer(text):
        word, gap = token[0], text[end : token.start()]
        new_sentence = end == 0 or bool(_SENTENCE_END.search(gap))
        joined = bool(name) and bool(_INSIDE_NAME.fullmatch(gap))
        # The point of an initial ends no sentence: "J. Smith".
        if joined and gap.startswith(".") and len(name[-1]) > 1:
            joined = False
        end = token.end()
        if word[0].isupper():
            if joined:
                name += [*connectors, *_folded_words(word)]
            else:
                yield from finish()
                name, starts_sentence = _folded_words(word), new_sentence
            connectors = []
        elif joined and word in _CONNECTORS:
            connectors.append(word)
        else:
            yield from finish()
            name, connectors = [], []
    yield from finish()


def _numbers(text: str) -> list[str]:
    return [_THOUSANDS_SEPARATOR.sub("", one) for one in _TOKEN.findall(text) if one[0].isdigit()]


def _folded_words(text: str) -> list[str]:
    """Return words and numbers in lower case, without accents and separators of digits."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return [_THOUSANDS_SEPARATOR.sub("", one) for one in _TOKEN.findall(plain)]


def _is_caseless(text: str) -> bool:
    """Whether most letters belong to a script without capitals."""
    if text.isascii():
        return False
    letters = [letter for letter in text if letter.isalpha()]
    return 2 * sum(letter.lower() == letter.upper() for letter in letters) > len(letters)


def _character_pairs(text: str) -> set[str]:
    return {
        pair
        for word in content_words(text)
        if not word.isdigit()
        for pair in (map("".join, pairwise(word)) if len(word) > 1 else (word,))
    }
