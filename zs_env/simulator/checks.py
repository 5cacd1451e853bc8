"""Whether the documents that a language model wrote are what they were asked to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice

from zs_env.metrics import contains_answer, normalize_answer
from zs_env.questions.question import is_yes_no
from zs_env.search.types import SearchRequest
from zs_env.text.sanitize import sanitize

CHECKS: dict[str, str] = {
    "count": "the page has fewer documents than were asked for",
    "length": "the document has less than a third or more than three times the words asked for",
    "no_answer": "no useful document of the page holds a gold answer",
    "leak": "a noisy document holds a gold answer",
    "control_tags": "the document holds tags or control tokens",
    "repetition": "the document repeats another, or itself",
}
_MAX_REPEATED = 3  # times that the same three words may stand in one document


def failed_checks(
    documents: Sequence[str],
    request: SearchRequest,
    *,
    useful: bool,
    num_documents: int,
    num_words: int,
) -> list[tuple[str, ...]]:
    """Return for each document the names of the checks that it fails, out of `CHECKS`.

    What a page as a whole fails ("count", "no_answer") stands with each of its documents. Where the
    answers are unknown, or are yes or no, nothing that depends on them is checked.

    Args:
        documents: at most `num_documents`, all useful or all noisy.
        request: what they were written for.
        useful: what they were asked to be.
        num_documents: how many were asked for.
        num_words: about how long each should be.
    """
    answers = request.answers or ()
    judged = bool(answers) and not is_yes_no(answers)
    holds = [judged and contains_answer(text, answers) for text in documents]
    of_page = ["count"] if len(documents) < num_documents else []
    if useful and judged and not any(holds):
        of_page.append("no_answer")
    seen: set[str] = set()
    failed = []
    for text, holds_answer in zip(documents, holds, strict=True):
        own = list(of_page)
        if not num_words / 3 <= len(text.split()) <= num_words * 3:
            own.append("length")
        if holds_answer and not useful:
            own.append("leak")
        if sanitize(text) != text:
            own.append("control_tags")
        normalized = normalize_answer(text)
        if normalized in seen or _repeats_itself(normalized.split()):
            own.append("repetition")
        seen.add(normalized)
        failed.append(tuple(own))
    return failed


def _repeats_itself(words: list[str]) -> bool:
    triples = Counter(zip(words, islice(words, 1, None), islice(words, 2, None), strict=False))
    return bool(triples) and max(triples.values()) > _MAX_REPEATED
