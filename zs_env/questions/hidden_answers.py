"""Which answers a noisy document must not name, and which wrong one it may name.

The answer of a comparison ("Which is later, A or B?") is one of two names in the question. A noisy
document that never names it, or that names a wrong answer with its length, tells which one it is.
So what is noise for a comparison, and for a yes/no question, depends on the question alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from zs_env.metrics import normalize_answer, squad_normalized
from zs_env.text.wrong_answers import WrongAnswers, mentions_answer


@lru_cache(maxsize=16384)
def is_yes_no(answers: tuple[str, ...]) -> bool:
    """Whether all answers are yes or no; True if there are no answers."""
    return all(normalize_answer(answer) in ("yes", "no") for answer in answers)


def hidden_answers(question: str | None, answers: Sequence[str] | None) -> tuple[str, ...]:
    """Return the gold answers that a noisy document must not name: all of them, or none.

    None are hidden for yes/no questions and for comparisons. A question is a comparison if it names
    the first answer, or if a word of that answer stands beside an "or" of the question: the answer
    to "Who is older, Ann Lee or Bo Ray?" may be "Ann Maria Lee". Further answers do not count,
    because data sets list aliases such as "the Sun" and "Batman".
    """
    return _hidden_answers(question or "", tuple(answers or ()))


@lru_cache(maxsize=16384)
def _hidden_answers(question: str, answers: tuple[str, ...]) -> tuple[str, ...]:
    if is_yes_no(answers) or mentions_answer(question, answers[:1]):
        return ()
    words = squad_normalized(question).split()
    known = set(squad_normalized(answers[0]).split())
    for before, word, after in zip(words, words[1:], words[2:], strict=False):
        if word == "or" and not known.isdisjoint((before, after)):
            return ()
    return answers


def wrong_answer(
    question: str | None, answers: Sequence[str] | None, others: WrongAnswers, seed: int
) -> str | None:
    """Return the wrong answer that a noisy document suggests; None if there is none.

    It is like the gold answer where that is hidden. For a comparison or a yes/no question it is a
    name that shares no word with the question.
    """
    if not answers:
        return None
    if hidden := hidden_answers(question, answers):
        return others.pick(hidden, seed)
    return others.pick_name(question or "", seed)
