"""Cuts a document to the window that fits a query and an answer best."""

from __future__ import annotations

from collections.abc import Sequence

from zs_env.metrics import contains_answer
from zs_env.text.words import content_words


def snippet(
    title: str, text: str, *, query: str, num_words: int, answers: Sequence[str] = ()
) -> str:
    """Return the title and a window of the text, together at most `num_words` words.

    If the text contains one of the answers, so does the window, in its first third if possible: a
    small model that learns such windows states the answer early. Among the possible windows, the
    first one with the most words of the query is returned.
    """
    head = title.split()[: num_words // 2]
    words = text.split()
    width = num_words - len(head)
    query_words = set(content_words(query))
    starts = range(0, max(len(words) - width, 0) + 1)
    windows = [words[start : start + width] for start in starts]
    if answers and not contains_answer(" ".join(head), answers):
        answering = [window for window in windows if contains_answer(" ".join(window), answers)]
        third = max(width // 3, 1)
        early = [one for one in answering if contains_answer(" ".join(one[:third]), answers)]
        windows = early or answering[-1:] or windows
    best = max(windows, key=lambda one: len(query_words.intersection(content_words(" ".join(one)))))
    return f"{' '.join(head)}: {' '.join(best)}" if head else " ".join(best)
