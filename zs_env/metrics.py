"""Scores of a predicted answer against gold answers, with SQuAD normalization.

Source: Rajpurkar et al., "SQuAD" (arXiv:1606.05250), official evaluation script. Different from the
script, F1 is 0 if there is no common token, also if both sides are empty.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

# Units of F1: words, or characters for languages without spaces such as Chinese and Japanese.
F1Tokens = Literal["words", "characters"]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


@lru_cache(maxsize=16384)
def normalize_answer(text: str) -> str:
    """Return the text in lower case, without ASCII punctuation and articles, with single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def f1_score(prediction: str, answers: Sequence[str], *, tokens: F1Tokens = "words") -> float:
    """Best token F1 over the gold answers, in [0, 1]; 0 without a common token.

    Args:
        prediction: predicted answer.
        answers: gold answers.
        tokens: "words" as in SQuAD, or "characters" other than spaces and punctuation, which is not
            meaningful for English.
    """
    return _best_f1(prediction, tuple(answers), tokens)


def exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether the normalized prediction equals a normalized gold answer."""
    return normalize_answer(prediction) in map(normalize_answer, answers)


def contains_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether the text contains a gold answer as whole words; empty gold answers do not count."""
    return contains_padded(padded(text), padded_answers(tuple(answers)))


def contains_padded(text: str, answers: tuple[str, ...]) -> bool:
    """`contains_answer` for a text and answers that are padded already."""
    for answer in answers:  # noqa: SIM110 (`any` takes three times as long)
        if answer in text:
            return True
    return False


def padded(text: str) -> str:
    """Return the normalized text between spaces."""
    return f" {normalize_answer(text)} "


@lru_cache(maxsize=16384)
def padded_answers(answers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the padded answers, without those that are empty after normalization."""
    return tuple(padded(answer) for answer in answers if normalize_answer(answer))


def substring_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether a normalized gold answer is a substring of the normalized prediction.

    Only for comparisons with the published numbers of ZeroSearch, which reports this as "EM". It
    matches "no" in "november".
    """
    normalized = normalize_answer(prediction)
    return any(normalize_answer(gold) in normalized for gold in answers)


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
