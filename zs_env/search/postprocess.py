"""Lets a page of documents into a transcript: neutral, cut to size, with its provenance.

Engines that answer from memory return the same page again and again, to other questions as well, so
everything that does not depend on the question is done once per page.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from zs_env.metrics import holds_any, padded_answers, padded_words
from zs_env.prompts import render_document, render_page
from zs_env.questions.question import is_yes_no
from zs_env.search.types import Document, SearchPage
from zs_env.text.sanitize import sanitize


class PostprocessedPage(NamedTuple):
    """A page as it stands in a transcript.

    Attributes:
        documents: with their provenance.
        texts: each document in words.
        message: the page in words.
    """

    documents: tuple[Document, ...]
    texts: tuple[str, ...]
    message: str


def postprocess_page(
    page: SearchPage, useful: tuple[bool, ...], answers: tuple[str, ...], max_chars: int
) -> PostprocessedPage:
    """Let a page into a transcript.

    Args:
        page: as the engine gave it; documents beyond those asked for are left out.
        useful: one flag per document asked for.
        answers: gold answers; those of a yes/no question are not looked for.
        max_chars: longer documents are cut and flagged.

    Raises:
        TypeError: if the page, a document or a text is of another type.
    """
    if not isinstance(page, SearchPage):
        raise TypeError(f"an engine returns SearchPage objects, got {type(page).__name__}")
    return _read(page.documents, useful, page.engine, max_chars).judge(answers)


class _NeutralPage:
    """A page that is ready but for which of its documents contain the answer."""

    def __init__(self, documents: list[Document]) -> None:
        self._documents = tuple(documents)
        self._texts = tuple(map(render_document, documents))
        self._message = render_page(documents)
        self._words = [padded_words(f"{one.title} {one.text}") for one in documents]
        self._by_answers: dict[tuple[str, ...], PostprocessedPage] = {}
        self._by_verdicts: dict[tuple[bool | None, ...], PostprocessedPage] = {}

    def judge(self, answers: tuple[str, ...]) -> PostprocessedPage:
        """Return the page for a question with these answers."""
        known = self._by_answers.get(answers)
        if known is not None:
            return known
        if is_yes_no(answers):
            verdicts: tuple[bool | None, ...] = (None,) * len(self._words)
        else:
            golds = padded_answers(answers)
            verdicts = tuple([holds_any(words, golds) for words in self._words])
        page = self._by_verdicts.get(verdicts) or self._with_verdicts(verdicts)
        if len(self._by_answers) >= _MAX_JUDGED:
            self._by_answers.clear()
        self._by_answers[answers] = page
        return page

    def _with_verdicts(self, verdicts: tuple[bool | None, ...]) -> PostprocessedPage:
        documents = tuple(
            replace(document, contains_answer=verdict)
            for document, verdict in zip(self._documents, verdicts, strict=True)
        )
        page = PostprocessedPage(documents, self._texts, self._message)
        if len(self._by_verdicts) < _MAX_JUDGED:
            self._by_verdicts[verdicts] = page
        return page


# Keyed by the identity of the documents, which the entry keeps alive: hashing them is slow.
_pages: dict[tuple[int, tuple[bool, ...], str, int], tuple[object, _NeutralPage]] = {}
_MAX_PAGES, _MAX_JUDGED = 2048, 8


def _read(
    documents: tuple[Document, ...], useful: tuple[bool, ...], engine: str, max_chars: int
) -> _NeutralPage:
    """Neutralise a page, or find it where it was neutralised before."""
    key = (id(documents), useful, engine, max_chars)
    known = _pages.get(key)
    if known is not None:
        return known[1]
    page = _NeutralPage(
        [
            _admit(document, rank, asked, engine, max_chars)
            for rank, (document, asked) in enumerate(zip(documents, useful, strict=False))
        ]
    )
    # Whole web pages stay in no memory.
    if all(len(document.title) + len(document.text) <= max_chars for document in documents):
        if len(_pages) >= _MAX_PAGES:
            _pages.clear()
        _pages[key] = (documents, page)
    return page


def _admit(document: object, rank: int, useful: bool, engine: str, max_chars: int) -> Document:
    """Neutralise and cut a document, and complete its provenance."""
    if not isinstance(document, Document):
        raise TypeError(f"a page holds Document objects, got {type(document).__name__}")
    if not (isinstance(document.title, str) and isinstance(document.text, str)):
        raise TypeError(
            "title and text of a Document are strings, got "
            f"{type(document.title).__name__} and {type(document.text).__name__}"
        )
    title = sanitize(document.title[:max_chars])
    room = max_chars - len(title)
    # By position: `replace` takes three times as long, and this runs for every fresh document.
    return Document(
        sanitize(document.text[:room]),
        title,
        useful if document.useful is None else document.useful,
        document.engine or engine,
        rank,
        None,
        len(document.title) + len(document.text) > max_chars,
        document.checks,
        document.metadata,
    )
