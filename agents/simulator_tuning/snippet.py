"""Cuts a document to the length of a search result, around what matters of it."""

from __future__ import annotations

from collections.abc import Sequence

from zs_env.metrics import contains_answer
from zs_env.text.words import content_words


def snippet(
    title: str, text: str, *, query: str, num_words: int, answers: Sequence[str] = ()
) -> str:
    """Return the title and a window of the text, together at most `num_words` words.

    The window holds a gold answer where one is given and stands in the text, in its first third or
    as near to it as can be: a model that learns to write such windows says the answer before it
    has lost the thread. Of several windows the one with most of the query's words is taken, of
    equal ones the first.

    Args:
        title: set before the window, with a colon; "" for none.
        text: of the document.
        query: what was asked.
        num_words: at least 1.
        answers: to be kept in sight; () where there is none to keep.
    """
    head = title.split()[: num_words // 2]
    words = text.split()
    room = num_words - len(head)
    asked = set(content_words(query))
    starts = range(0, max(len(words) - room, 0) + 1)
    windows = [words[start : start + room] for start in starts]
    if answers and not contains_answer(" ".join(head), answers):
        kept = [window for window in windows if contains_answer(" ".join(window), answers)]
        third = max(room // 3, 1)
        early = [window for window in kept if contains_answer(" ".join(window[:third]), answers)]
        windows = early or kept[-1:] or windows
    best = max(windows, key=lambda window: len(asked.intersection(content_words(" ".join(window)))))
    return f"{' '.join(head)}: {' '.join(best)}" if head else " ".join(best)
