"""Suspicious gold answers: those that cannot be scored well, or that texts contain by chance."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from zs_env.engines.retrieval.passage_file import Passage
from zs_env.metrics import contains_answer, padded, squad_normalized
from zs_env.questions.question import Question

LONG_WORDS = 10
FREQUENT_SHARE = 0.01
# Every kind of issue with its definition, in the order of the tables.
ISSUES: dict[str, str] = {
    "empty": "a gold answer consists of punctuation and articles only",
    "long": f"every gold answer has more than {LONG_WORDS} words",
    "frequent": f"random passages contain a gold answer with a share of {FREQUENT_SHARE:.0%} or "
    "more",
    "in question": "the question itself contains a gold answer",
    "yes/no": "every gold answer is yes or no",
    "equal aliases": "two gold answers differ only in case, punctuation or articles",
    "damaged": "question or answers contain mojibake, U+FFFD or control characters",
    "markup": "question or answers contain HTML entities, tags or addresses",
}
_REPLACED = re.compile("[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_MARKUP = re.compile(r"&(?:[a-z]{2,8}|#x?[0-9a-f]{2,6});|</?[a-z][a-z0-9]*\s*/?>|https?://", re.I)


def find_issues(question: Question, *, frequency: float) -> tuple[str, ...]:
    """Return the names in `ISSUES` of everything suspicious about a question and its gold answers.

    Args:
        question: with its gold answers.
        frequency: share of random passages that contain a gold answer, in [0, 1].
    """
    answers, texts = question.answers, (question.text, *question.answers)
    normalized = [squad_normalized(answer) for answer in answers]
    found = {
        "empty": not all(normalized),
        "long": min(len(one.split()) for one in normalized) > LONG_WORDS if answers else False,
        "frequent": frequency >= FREQUENT_SHARE and not question.is_yes_no,
        "in question": not question.is_yes_no and contains_answer(question.text, answers),
        "yes/no": question.is_yes_no,
        "equal aliases": any(first == second for first, second in pairwise(sorted(normalized))),
        "damaged": any(_REPLACED.search(text) or is_mojibake(text) for text in texts),
        "markup": any(_MARKUP.search(text) for text in texts),
    }
    return tuple(name for name in ISSUES if found[name])


def is_mojibake(text: str) -> bool:
    """Whether a text is UTF-8 that was decoded as Windows-1252 or Latin-1, such as "BjÃ¶rk".

    The encodings reverse the error only for such a text: in ordinary text, the bytes of letters
    with accents are no valid UTF-8.
    """
    if text.isascii():
        return False
    # Only runs of characters outside ASCII are reversed: other parts of the text may be intact.
    return any(_decodes(run) for run in re.findall(r"[^\x00-\x7f]{2,}", text))


def _decodes(run: str) -> bool:
    for encoding in ("cp1252", "latin-1"):
        try:
            run.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False


def passages_with(
    answers: Iterable[str], passages: Sequence[Passage]
) -> Mapping[str, frozenset[int]]:
    """Find the passages that contain each answer as whole words, title included.

    All answers are found in one pass over each passage. Answers that normalize to nothing are
    skipped.

    Returns:
        By normalized answer, the numbers of the passages; answers that no passage contains are
        left out.
    """
    wanted = {normalized for answer in answers if (normalized := squad_normalized(answer))}
    lengths: dict[str, set[int]] = {}
    for answer in wanted:
        first, *others = answer.split()
        lengths.setdefault(first, set()).add(1 + len(others))
    found: dict[str, set[int]] = {}
    for number, passage in enumerate(passages):
        words = padded(f"{passage.title} {passage.text}").split()
        for start, word in enumerate(words):
            for length in lengths.get(word, ()):
                phrase = " ".join(words[start : start + length])
                if phrase in wanted:
                    found.setdefault(phrase, set()).add(number)
    return {answer: frozenset(numbers) for answer, numbers in found.items()}


def answer_frequency(
    answers: Iterable[str], found: Mapping[str, frozenset[int]], num_passages: int
) -> float:
    """Return the share of passages that contain at least one of the answers, in [0, 1].

    Args:
        answers: the gold answers of a question.
        found: what `passages_with` returned for these and other answers.
        num_passages: number of passages that were searched, above 0.
    """
    numbers = {number for one in answers for number in found.get(squad_normalized(one), ())}
    return len(numbers) / num_passages
