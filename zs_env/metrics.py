"""Scores of a predicted answer against gold answers, with SQuAD normalization.

Source: Rajpurkar et al., "SQuAD" (arXiv:1606.05250), official evaluation script. Different from the
script, F1 is 0 if there is no common token, an answer that consists of punctuation and articles is
kept as it is, and each character of a script without spaces is a word.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from zs_env.text.words import UNSPACED

# Units of F1: words, or characters.
F1Tokens = Literal["words", "characters"]

# In UTF-8, these bytes occur in no other character.
_PUNCTUATION = string.punctuation.encode()
_SURROGATES = "surrogatepass"  # how lone surrogates are encoded
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
# Text with one of these is normalized further: scripts without spaces, ideographic punctuation and
# full-width forms.
_WIDE = re.compile(f"[{UNSPACED}\u3000-\u303f\uff00-\uffef]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_UNSPACED_CHARACTER = re.compile(f"([{UNSPACED}])")
_ROUGE_SEPARATORS = re.compile(r"[\x00-/:-`{-\x7f]+")  # all of ASCII but a-z and 0-9
_LOWER_ARTICLES = re.compile(r"\W*(?:(?:a|an|the)\b\W*)+")


@lru_cache(maxsize=16384)
def normalize_answer(text: str) -> str:
    """Return the text in lower case, without punctuation and articles, with single spaces.

    Only ASCII punctuation is removed, except in text with full-width forms or of scripts without
    spaces (Chinese, Japanese, Thai and others). Each character of such a script is a word. If
    nothing would be left, as of "The The" or "!!!", punctuation and articles are kept.
    """
    return squad_normalized(text) or " ".join(text.lower().split())


def squad_normalized(text: str) -> str:
    """Return the normalized text; empty if the text consists of punctuation and articles."""
    if not text.isascii() and _WIDE.search(text):
        text = _NOT_ASCII.sub(_without_punctuation, text)
        text = unicodedata.normalize("NFKC", text)
        text = _UNSPACED_CHARACTER.sub(r" \1 ", text)
    return " ".join(_ARTICLES.sub(" ", _stripped(text).decode("utf-8", _SURROGATES)).split())


def _stripped(text: str) -> bytes:
    """Return the text in lower case without ASCII punctuation, as UTF-8."""
    # `bytes.translate` is many times faster than `str.translate`.
    return text.lower().encode("utf-8", _SURROGATES).translate(None, _PUNCTUATION)


def _without_punctuation(character: re.Match[str]) -> str:
    return " " if unicodedata.category(character[0]).startswith("P") else character[0]


def f1_score(prediction: str, answers: str | Sequence[str], *, tokens: F1Tokens = "words") -> float:
    """Best token F1 over the gold answers, in [0, 1]; 0 without a common token.

    Args:
        prediction: predicted answer.
        answers: gold answers; a string is one answer.
        tokens: "words" as in SQuAD, or "characters" other than spaces and punctuation, which is not
            meaningful for English.
    """
    return _best_f1(prediction, as_answers(answers), tokens)


def as_answers(answers: str | Sequence[str]) -> tuple[str, ...]:
    """Return gold answers as a tuple; a string is one answer."""
    return (answers,) if isinstance(answers, str) else tuple(answers)


def exact_match(prediction: str, answers: str | Sequence[str]) -> bool:
    """Whether the normalized prediction equals a normalized gold answer."""
    return normalize_answer(prediction) in map(normalize_answer, as_answers(answers))


def contains_answer(text: str, answers: str | Sequence[str]) -> bool:
    """Whether the text contains a gold answer as whole words; empty gold answers do not count.

    An answer that consists of punctuation and articles is searched with its case and punctuation;
    articles in lower case alone, such as "the", do not count.
    """
    golds = gold_patterns(as_answers(answers))
    found = _may_contain(text, golds) and contains_padded(padded(text), golds)
    return found or contains_bare(text, golds)


def _may_contain(text: str, golds: GoldPatterns) -> bool:
    """Whether the text contains the longest word of an answer, perhaps within other words."""
    if not text.isascii() and _WIDE.search(text):
        return True
    stripped = _stripped(text)
    for word in golds.longest_words:  # noqa: SIM110 (as above)
        if word in stripped:
            return True
    return False


def contains_padded(text: str, golds: GoldPatterns) -> bool:
    """Whether a padded text contains a gold answer that is more than punctuation and articles."""
    for answer in golds.padded:  # noqa: SIM110 (`any` takes three times as long)
        if answer in text:
            return True
    return False


def contains_bare(text: str, golds: GoldPatterns) -> bool:
    """Whether a text contains a gold answer of punctuation and articles."""
    return bool(golds.bare) and any(pattern.search(text) for pattern in golds.bare)


class GoldPatterns(NamedTuple):
    """What `contains_answer` searches for.

    Attributes:
        padded: normalized gold answers between spaces.
        longest_words: the longest word of each, as UTF-8.
        bare: patterns of those answers of which nothing is left.
    """

    padded: tuple[str, ...]
    longest_words: tuple[bytes, ...]
    bare: tuple[re.Pattern[str], ...]


def padded(text: str) -> str:
    """Return the normalized text between spaces."""
    return f" {squad_normalized(text)} "


@lru_cache(maxsize=16384)
def gold_patterns(answers: tuple[str, ...]) -> GoldPatterns:
    """Return what `contains_answer` searches for."""
    normalized = {answer: squad_normalized(answer) for answer in answers}
    longest = [max(words.split(), key=len) for words in normalized.values() if words]
    return GoldPatterns(
        tuple(f" {words} " for words in normalized.values() if words),
        tuple(word.encode("utf-8", _SURROGATES) for word in longest),
        tuple(
            re.compile(rf"(?<!\S){re.escape(one.strip())}(?=[.,;:!?)\"']*(?:\s|$))")
            for one, words in normalized.items()
            if not words and one.strip() and not _LOWER_ARTICLES.fullmatch(one)
        ),
    )


def rouge_l(prediction: str, answers: str | Sequence[str]) -> float:
    """Best ROUGE-L F1 over the gold answers, in [0, 1]; 0 for a text without words.

    The F1 of the longest common subsequence of words. Without stemming, as in the package
    rouge-score; each character of a script without spaces is a word here.

    Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004), section 3.
    """
    words = _rouge_words(prediction)
    golds = map(_rouge_words, as_answers(answers))
    return max(
        (2 * _common_length(words, gold) / (len(words) + len(gold) or 1) for gold in golds),
        default=0.0,
    )


def _rouge_words(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text).lower()
    text = _UNSPACED_CHARACTER.sub(r" \1 ", _NOT_ASCII.sub(_without_punctuation, text))
    return _ROUGE_SEPARATORS.sub(" ", text).split()


def _common_length(first: list[str], second: list[str]) -> int:
    """Length of the longest common subsequence, with one integer per row of the usual table.

    Source: Hyyrö, "Bit-parallel LCS-length computation revisited" (2004).
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(first)) - 1
    row = full
    for word in second:
        matches = row & places.get(word, 0)
        row = (row + matches | row - matches) & full
    return len(first) - row.bit_count()


def substring_match(prediction: str, answers: str | Sequence[str]) -> bool:
    """Whether a normalized gold answer is a substring of the normalized prediction.

    Only for comparisons with the published numbers of ZeroSearch, which reports this as "EM". It
    matches "no" in "november".
    """
    normalized = squad_normalized(prediction)
    return any(squad_normalized(gold) in normalized for gold in as_answers(answers))


# Called twice at the end of an episode: for the reward and for the scores.
@lru_cache(maxsize=1024)
def _best_f1(prediction: str, answers: tuple[str, ...], tokens: F1Tokens) -> float:
    split = _SPLITS[tokens]
    predicted = split(normalize_answer(prediction))
    return max(
        (_token_f1(predicted, split(normalize_answer(gold))) for gold in answers), default=0.0
    )


def _characters(text: str) -> list[str]:
    return [c for c in text if not c.isspace() and not unicodedata.category(c).startswith("P")]


_SPLITS: dict[F1Tokens, Callable[[str], list[str]]] = {
    "words": str.split,
    "characters": _characters,
}


def _token_f1(predicted: list[str], gold: list[str]) -> float:
    # `Counter & Counter` takes ten times as long, and this runs in every episode.
    left = list(gold)
    for token in predicted:
        if token in left:
            left.remove(token)
    common = len(gold) - len(left)
    return 2 * common / (len(predicted) + len(gold)) if common else 0.0
