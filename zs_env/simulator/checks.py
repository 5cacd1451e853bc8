"""Quality checks of generated documents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from zs_env.metrics import contains_answer, normalize_answer
from zs_env.questions.hidden_answers import hidden_answers, is_yes_no
from zs_env.search.types import SearchRequest
from zs_env.simulator.support import MIN_SUPPORT, support_rate
from zs_env.text.sanitize import sanitize
from zs_env.text.words import is_mostly_unspaced
from zs_env.text.words import num_words as count_words
from zs_env.text.wrong_answers import mentions_answer

CHECKS: dict[str, str] = {
    "count": "the page has fewer documents than requested",
    "length": "the document has less than a third or more than three times the requested words",
    "no_answer": "no document of a useful page contains a gold answer, or a document contains none "
    "although its source does",
    "leak": "a noisy document mentions a gold answer",
    "no_wrong_answer": "a misleading document does not contain the wrong answer",
    "unsupported": f"less than {MIN_SUPPORT:.0%} of the document's names and numbers occur in its "
    "source",
    "instructions": "the document is about the prompt, as the thinking of a model is",
    "control_tags": "the document contains tags or control tokens",
    "repetition": "the document repeats another document or its own words",
}
# Thinking without any tag: "The user wants five documents. Doc 1: should mention ...".
_ABOUT_PROMPT = re.compile(
    r"\bthe (?:user|searcher|prompt|instructions?)\b(?: \w+)? "
    r"(?:wants?|wanted|asks?|asked|says?|said|needs?|requests?|requested|requires?)\b"
    r"|\b(?:i|we) (?:was|were|am|are|have been|'ve been) (?:told|asked|instructed|given)\b"
    r"|\b(?:i|we) (?:must|should|need to|have to|will|can|could|shall)"
    r"(?: not| also| now| just)*"
    r" (?:write|mention|say|state|include|generate|produce|make sure|avoid)\b"
    r"|\blet(?:'s| me) (?:write|think|draft|start|make|generate|create|craft)\b"
    r"|^(?:it )?(?:should|must)(?: not| also)* (?:mention|state|say|include|contain|be about)\b"
    r"|\b(?:the )?(?:correct|gold|right) answer (?:is|must|should)\b"
    r"|\b(?:useful|noisy|irrelevant) (?:documents?|excerpts?|pages?)\b"
    r"|\b(?:in|of) about \d+ words\b|\bDoc(?:ument)? \d+\b *(?:should|must|could|will|:)",
    re.IGNORECASE,
)
_MAX_REPEATED = 3  # how often the same three words may occur in one document
# Lengths of repeated parts; `normalize_answer` makes each character of Chinese or Thai a word.
_REPEATED_WORDS, _REPEATED_CHARACTERS = 3, 8


def failed_checks(
    documents: Sequence[str],
    request: SearchRequest,
    *,
    useful: bool,
    num_documents: int,
    num_words: int,
    wrong_answer: str | None = None,
    source: str | None = None,
) -> list[tuple[str, ...]]:
    """Return for each document the names of the failed checks, from `CHECKS`.

    The checks of a whole page ("count", "no_answer") are repeated for each of its documents.
    "no_answer" and "leak" are skipped if the answers are unknown or are yes or no, and "leak" also
    for comparisons.

    Args:
        documents: at most `num_documents`, all requested with the same quality.
        request: the search request.
        useful: the requested quality: useful or noisy.
        num_documents: requested number of documents.
        num_words: requested length of a document, approximately.
        wrong_answer: to be stated by each document; None skips "no_wrong_answer".
        source: the passage from which the document was written. "no_answer" is then skipped if the
            passage contains no gold answer. None skips "unsupported".
    """
    answers = request.answers or ()
    hidden = hidden_answers(request.question, answers)
    has_text_answer = bool(answers) and not is_yes_no(answers)
    contains = [has_text_answer and contains_answer(text, answers) for text in documents]
    page_checks = ["count"] if len(documents) < num_documents else []
    has_source_answer = source is None or contains_answer(source, answers)
    if useful and has_text_answer and has_source_answer and not any(contains):
        page_checks.append("no_answer")
    seen: set[str] = set()
    failed = []
    for text in documents:
        checks = list(page_checks)
        if not num_words / 3 <= count_words(text) <= num_words * 3:
            checks.append("length")
        if not useful and mentions_answer(text, hidden):
            checks.append("leak")
        if wrong_answer is not None and not contains_answer(text, [wrong_answer]):
            checks.append("no_wrong_answer")
        if source is not None:
            support = support_rate(text, [source])
            if support is not None and support < MIN_SUPPORT:
                checks.append("unsupported")
        if _ABOUT_PROMPT.search(text.replace("\u2019", "'")):
            checks.append("instructions")
        if sanitize(text) != text:
            checks.append("control_tags")
        normalized = normalize_answer(text)
        words = normalized.split()
        length = _REPEATED_CHARACTERS if is_mostly_unspaced(text) else _REPEATED_WORDS
        parts = Counter(zip(*(words[start:] for start in range(length)), strict=False))
        if normalized in seen or max(parts.values(), default=0) > _MAX_REPEATED:
            checks.append("repetition")
        seen.add(normalized)
        failed.append(tuple(checks))
    return failed
