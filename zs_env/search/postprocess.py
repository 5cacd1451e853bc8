"""Sanitizes, truncates and annotates retrieved documents before they enter a transcript.

An engine with fixed pages returns the same page for many questions, so everything that does not
depend on the question is done once per page.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from zs_env.metrics import contains_answer
from zs_env.prompts import render_document, render_page
from zs_env.questions.question import is_yes_no
from zs_env.search.types import Document, SearchPage
from zs_env.text.sanitize import sanitize


class PostprocessedPage(NamedTuple):
    """A page as it enters a transcript.

    Attributes:
        documents: the documents with complete provenance.
        texts: each document as the agent reads it.
        message: the page as the agent reads it.
    """

    documents: tuple[Document, ...]
    texts: tuple[str, ...]
    message: str


def postprocess_page(
    page: SearchPage, useful: tuple[bool, ...], answers: tuple[str, ...], max_chars: int
) -> PostprocessedPage:
    """Prepare a page for a transcript.

    Args:
        page: as the engine returned it; documents beyond the requested number are dropped.
        useful: one flag per requested document.
        answers: gold answers, which set `contains_answer`; not for yes/no questions.
        max_chars: longer documents are cut and marked as truncated.

    Raises:
        TypeError: if the page, a document or a text has the wrong type.
    """
    if not isinstance(page, SearchPage):
        raise TypeError(f"expected a SearchPage from the engine, got {type(page).__name__}")
    documents = page.documents
    key = (id(documents), useful, page.engine, max_chars)
    known = _pages.get(key)
    if known is not None:
        return known[1].annotate(answers)
    sanitized = _SanitizedPage(
        tuple(
            _sanitize_document(document, rank, flag, page.engine, max_chars)
            for rank, (document, flag) in enumerate(zip(documents, useful, strict=False))
        )
    )
    # Long web pages are not kept in memory.
    if all(len(document.title) + len(document.text) <= max_chars for document in documents):
        if len(_pages) >= _MAX_PAGES:
            _pages.clear()
        _pages[key] = (documents, sanitized)
    return sanitized.annotate(answers)


class _SanitizedPage:
    """A page that is complete except for the labels `contains_answer`."""

    def __init__(self, documents: tuple[Document, ...]) -> None:
        self._documents = documents
        self._texts = tuple(map(render_document, documents))
        self._message = render_page(documents)
        self._by_answers: dict[tuple[str, ...], PostprocessedPage] = {}
        self._by_labels: dict[tuple[bool | None, ...], PostprocessedPage] = {}

    def annotate(self, answers: tuple[str, ...]) -> PostprocessedPage:
        """Return the page with the labels of a question with these gold answers."""
        known = self._by_answers.get(answers)
        if known is not None:
            return known
        skip = is_yes_no(answers)
        labels = tuple(
            None if skip else contains_answer(f"{one.title} {one.text}", answers)
            for one in self._documents
        )
        page = self._by_labels.get(labels)
        if page is None:
            documents = tuple(
                replace(document, contains_answer=label)
                for document, label in zip(self._documents, labels, strict=True)
            )
            page = PostprocessedPage(documents, self._texts, self._message)
            if len(self._by_labels) < _MAX_ANNOTATED:
                self._by_labels[labels] = page
        if len(self._by_answers) >= _MAX_ANNOTATED:
            self._by_answers.clear()
        self._by_answers[answers] = page
        return page


# Keyed by the identity of the documents, because hashing them is slow. The entry keeps them alive.
_pages: dict[tuple[int, tuple[bool, ...], str, int], tuple[object, _SanitizedPage]] = {}
_MAX_PAGES, _MAX_ANNOTATED = 2048, 8


def _sanitize_document(
    document: object, rank: int, useful: bool, engine: str, max_chars: int
) -> Document:
    """Sanitize and cut a document, and complete its provenance."""
    if not isinstance(document, Document):
        raise TypeError(f"expected Document objects on a page, got {type(document).__name__}")
    if not (isinstance(document.title, str) and isinstance(document.text, str)):
        raise TypeError(
            "expected strings as title and text of a Document, got "
            f"{type(document.title).__name__} and {type(document.text).__name__}"
        )
    title = sanitize(document.title[:max_chars])
    room = max_chars - len(title)
    # By position: `replace` takes three times as long, and this runs for every new document.
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
