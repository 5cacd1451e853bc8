"""Which answers a noisy document must not name, and which wrong one it may name.

The answer of a comparison ("Which is later, A or B?") is one of two names in the question. A noisy
document that never names it, or that names a wrong answer with its length, tells which one it is.
So what is noise for a comparison, and for a yes/no question, depends on the question alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache

from zs_env.metrics import normalize_answer, squad_normalized
from zs_env.text.wrong_answers import WrongAnswers, mentions_answer

_BRACKETS = re.compile(r"\([^)]*\)")
_WORD = re.compile(r"\w(?:[\w'\u2019.-]*\w)?")


@lru_cache(maxsize=16384)
def is_yes_no(answers: tuple[str, ...]) -> bool:
    """Whether all answers are yes or no; True if there are no answers."""
    return all(normalize_answer(answer) in ("yes", "no") for answer in answers)


def hidden_answers(question: str | None, answers: Sequence[str] | None) -> tuple[str, ...]:
    """Return the gold answers that a noisy document must not name.

    There are none for yes/no questions and for comparisons. A question with "or" or "and" is a
    comparison if it names the first answer, and also if a capitalized word of that answer stands
    beside an "or": the answer to "Who is older, Ann Lee or Bo Ray?" may be "Ann Maria Lee". Further
    answers do not count, because data sets list aliases such as "the Sun" and "Batman". If another
    question names its answer, the other answers are hidden.
    """
    return _hidden_answers(question or "", tuple(answers or ()))


@lru_cache(maxsize=16384)
def _hidden_answers(question: str, answers: tuple[str, ...]) -> tuple[str, ...]:
    if is_yes_no(answers):
        return ()
    words = [word for word in _WORD.findall(question) if word.lower() not in ("a", "an", "the")]
    if mentions_answer(question, answers[:1]):
        if {"or", "and"} & {word.lower() for word in words}:
            return ()
        return tuple(one for one in answers if not mentions_answer(question, [one]))
    known = set(squad_normalized(answers[0]).split())
    for before, word, after in zip(words, words[1:], words[2:], strict=False):
        names = {squad_normalized(one) for one in (before, after) if one[0].isupper()}
        if word.lower() == "or" and names & known:
            return ()
    return answers


def chooses_document(question: str | None, answers: Sequence[str], titles: Collection[str]) -> bool:
    """Whether a question names two of its gold documents and its answer may be one of them.

    So do comparisons in any wording: "Out of John Waite and Jeff Soto, who is older?" with the
    answer "John Charles Waite". A false copy of one document would tell that it has the answer.
    """
    names = {_BRACKETS.sub("", title).strip() for title in titles} - {""}
    named = [name for name in names if mentions_answer(question or "", [name])]
    words = {word for name in named for word in squad_normalized(name).split()}
    return len(named) > 1 and not words.isdisjoint(squad_normalized(answers[0]).split())


def wrong_answer(
    question: str | None, answers: Sequence[str] | None, others: WrongAnswers, seed: int
) -> str | None:
    """Return the wrong answer that a noisy document suggests; None if there is none.

    If the gold answer is hidden, the wrong answer is like it. For a comparison or a yes/no
    question, the wrong answer is a name. This name and the question have no word in common.
    """
    if not answers:
        return None
    if hidden_answers(question, answers):
        return others.pick(answers, seed)
    return others.pick_name(question or "", answers, seed)
