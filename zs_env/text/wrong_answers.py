"""Wrong answers of the right type, and texts that state them in place of the right ones.

Source: entity substitution, Longpre et al. (arXiv:2109.05052).
"""

from __future__ import annotations

import random
import re
import string
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import chain, product
from typing import Literal

from zs_env.metrics import as_answers, contains_answer, exact_match, squad_normalized
from zs_env.text.words import UNSPACED

AnswerType = Literal["yes_no", "year", "date", "number", "name", "other"]
# Types that take the place of one of which there is no other answer.
_RELATED: dict[AnswerType, tuple[AnswerType, ...]] = {
    "year": ("number", "date"),
    "date": ("year", "number"),
    "number": ("year", "date"),
    "name": ("other",),
    "other": ("name",),
}

_MONTHS = re.compile(
    "january|february|march|april|may|june|july|august|september|october|november|december"
)
_YEAR = re.compile(r"[12]\d{3}")
_NUMBER_WORDS = re.compile(
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|"
    "hundred|thousand|million|billion"
)
_ARTICLE = re.compile(r"(?i:\W*(?:a|an|the)\b)?\W*")
_LONG = 4  # answers with this number of words or more are of one length
_MARKS = string.punctuation + "".join(map(chr, range(0x2010, 0x2020)))  # dashes and quotes
_PUNCTUATION = r"[^\w\s]*"  # compiles ten times faster than a list of marks
_NO_MARKS = str.maketrans("", "", _MARKS)
_BETWEEN_WORDS = r"[\W_]*(?:\b(?:a|an|the)\b[\W_]*)*"
_PART = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(f"[{UNSPACED}]")


class WrongAnswers:
    """Picks a wrong answer to a question from the answers to other questions.

    Args:
        answers: the gold answers of each question; the first one of each can be picked.
    """

    def __init__(self, answers: Iterable[Sequence[str]]) -> None:
        by_shape: dict[tuple[AnswerType, int], dict[str, str]] = defaultdict(dict)
        for golds in answers:
            for answer in golds[:1]:
                by_shape[_shape(answer)].setdefault(squad_normalized(answer), answer)
        # Sorted, so that the order of the questions has no effect.
        self._by_shape = {shape: sorted(found.values()) for shape, found in by_shape.items()}

    @cached_property
    def _names(self) -> list[tuple[str, frozenset[str]]]:
        names = [found for (kind, _), found in self._by_shape.items() if kind == "name"]
        return [(name, _words(name)) for name in sorted(chain.from_iterable(names))]

    def pick(self, golds: Sequence[str], seed: int) -> str | None:
        """Return an answer of the type and, if possible, the length of the first gold answer.

        The wrong answer and the gold answers have no word in common. If there is no answer of the
        type, the wrong answer has a related type, such as a number in place of a year. Equal
        arguments give equal answers.

        Args:
            golds: the gold answers of a question, other than yes and no.
            seed: determines which of the possible answers is picked.

        Returns:
            The wrong answer; None if there is none.
        """
        known = {word for gold in golds for word in squad_normalized(gold).split()}
        if not known:
            return None
        kind, length = _shape(golds[0])
        rng = random.Random(seed)
        lengths = sorted(range(1, _LONG + 1), key=lambda other: abs(other - length))
        for shape in product((kind, *_RELATED.get(kind, ())), lengths):
            candidates = self._by_shape.get(shape, [])
            start = rng.randrange(len(candidates)) if candidates else 0
            for candidate in [*candidates[start:], *candidates[:start]]:
                if known.isdisjoint(squad_normalized(candidate).split()):
                    return candidate
        return None

    def pick_name(self, question: str, golds: Sequence[str], seed: int) -> str | None:
        """Return a name that has no word of the question; None if there is no such name.

        If the question names its answers, the name does not depend on which of them is right.
        Equal arguments give equal names.

        Args:
            question: the question.
            golds: its gold answers, which are not picked.
            seed: determines which of the possible names is picked.
        """
        known, rng = _words(question), random.Random(seed)
        names = [name for name, words in self._names if known.isdisjoint(words)]
        while names:
            name = names.pop(rng.randrange(len(names)))
            if not exact_match(name, golds):
                return name
        return None


def _words(text: str) -> frozenset[str]:
    """Return the words of a text, those with punctuation both whole and in parts."""
    return frozenset(squad_normalized(text).split()) | frozenset(_PART.findall(text.lower()))


def answer_type(answer: str) -> AnswerType:
    """Return the coarse type of an answer, from its form alone."""
    words = squad_normalized(answer).split()
    if words in (["yes"], ["no"]):
        return "yes_no"
    if len(words) == 1 and _YEAR.fullmatch(words[0]):
        return "year"
    has_digit = any(character.isdigit() for character in answer)
    if has_digit and any(map(_MONTHS.fullmatch, words)):
        return "date"
    if (words and words[0][0].isdigit()) or any(map(_NUMBER_WORDS.fullmatch, words)):
        return "number"
    return "name" if _ARTICLE.sub("", answer)[:1].isupper() else "other"


def last_name(answer: str) -> str | None:
    """Return the last word of a name, such as "Federer" of "Roger Federer"; None if it has none.

    It is a capitalized word of at least 4 letters in an answer of 2 words or more.
    """
    words = answer.split()
    last = words[-1].strip(_MARKS) if len(words) > 1 and answer_type(answer) == "name" else ""
    return last if len(last) >= 4 and last.isalpha() and last[0].isupper() else None


def replace_answers(text: str, answers: Sequence[str], wrong: str) -> str | None:
    """Replace every gold answer in a text by a wrong one.

    An answer is found as `mentions_answer` finds it: whole words, in any case, with any
    punctuation.

    Returns:
        The new text; None if it mentions no gold answer, or would still mention one.
    """
    if not mentions_answer(text, answers):
        return None
    pattern = _pattern(tuple(answers))
    replaced = text if pattern is None else pattern.sub(lambda _: wrong, text)
    return None if mentions_answer(replaced, answers) else replaced


def mentions_answer(text: str, answers: str | Sequence[str]) -> bool:
    """Whether a text names a gold answer, so that it is no noise.

    `zs_env.metrics.contains_answer` joins words over ASCII punctuation and keeps other punctuation,
    as the SQuAD metrics do. This function also finds the answer "Paris" in "Paris's", in
    "Paris\u2013Lyon" and between typographic quotes. Text with `contains_answer` is included.
    """
    if contains_answer(text, answers):
        return True
    plain = text.lower().translate(_NO_MARKS)
    for answer, word in _longest_words(as_answers(answers)):
        # A pattern takes long to compile, and few texts have the word.
        if word in plain:
            pattern = _pattern((answer,))
            if pattern is not None and pattern.search(text):
                return True
    return False


@lru_cache(maxsize=1024)
def _longest_words(answers: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return each answer with its longest word, which has no punctuation."""
    words = ((answer, squad_normalized(answer).split()) for answer in answers)
    return tuple(
        (answer, max(some, key=len).translate(_NO_MARKS)) for answer, some in words if some
    )


@lru_cache(maxsize=1024)
def _pattern(answers: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return a pattern of the answers; None if all consist of punctuation and articles."""
    found = set(map(squad_normalized, answers)) - {""}
    normalized = sorted(found, key=lambda one: (-len(one), one))  # longest first
    if not normalized:
        return None
    return re.compile("|".join(map(_answer_pattern, normalized)), re.IGNORECASE)


def _answer_pattern(normalized: str) -> str:
    words = [_PUNCTUATION.join(map(re.escape, word)) for word in normalized.split()]
    # Words of scripts without spaces have no boundary.
    left = "" if _UNSPACED.match(normalized[0]) else r"(?<!\w)"
    right = "" if _UNSPACED.match(normalized[-1]) else r"(?!\w)"
    return left + _BETWEEN_WORDS.join(words) + right


def _shape(answer: str) -> tuple[AnswerType, int]:
    return answer_type(answer), min(max(len(squad_normalized(answer).split()), 1), _LONG)
