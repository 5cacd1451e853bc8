"""Scores of a predicted answer against gold answers, all under SQuAD normalisation.

Source: Rajpurkar et al., "SQuAD" (arXiv:1606.05250), official evaluation script, whose rule
"F1 is equality where a side is empty" is not followed: without a common token F1 is 0.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

# What F1 counts: words between spaces, or, for Chinese and Japanese, which write none, characters.
F1Tokens = Literal["words", "characters"]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


@lru_cache(maxsize=16384)
def normalize_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, without a/an/the, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def f1_score(prediction: str, answers: Sequence[str], *, tokens: F1Tokens = "words") -> float:
    """Best token F1 over the gold answers, in [0, 1]; 0 without a common token.

    Args:
        prediction: what was answered.
        answers: gold answers.
        tokens: "words" as SQuAD has it; "characters" takes every character that is neither space
            nor punctuation, in any script. As English shares its letters, that says little of it.
    """
    return _best_f1(prediction, tuple(answers), tokens)


def exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether the normalised prediction equals a normalised gold answer."""
    return normalize_answer(prediction) in map(normalize_answer, answers)


def contains_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether a gold answer stands in the text as whole words; an empty gold stands nowhere."""
    return holds_any(padded_words(text), padded_answers(tuple(answers)))


def holds_any(words: str, golds: tuple[str, ...]) -> bool:
    """Whether one of the padded answers stands in padded words."""
    for gold in golds:  # noqa: SIM110 (`any` over a generator takes three times as long)
        if gold in words:
            return True
    return False


def padded_words(text: str) -> str:
    """Return the normalised text between spaces: whole words are found in it as " word "."""
    return f" {normalize_answer(text)} "


@lru_cache(maxsize=16384)
def padded_answers(answers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the answers as `padded_words` shows them, without those that normalise to nothing."""
    return tuple(padded_words(answer) for answer in answers if normalize_answer(answer))


def substring_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether a normalised gold is a substring of the normalised prediction.

    The original ZeroSearch reports this as "EM": it finds "no" in "november". For comparison with
    its published numbers only.
    """
    normalized = normalize_answer(prediction)
    return any(normalize_answer(gold) in normalized for gold in answers)


# A finished episode asks twice: for its reward and for its scores.
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
    # Counted by hand: `Counter & Counter` takes ten times as long, and this runs in every episode.
    left = list(gold)
    for token in predicted:
        if token in left:
            left.remove(token)
    common = len(gold) - len(left)
    return 2 * common / (len(predicted) + len(gold)) if common else 0.0
