"""Lets a page of documents into a transcript: neutral, cut to size, with its provenance.

Engines that answer from memory return the same page again and again, to other questions as well, so
everything that does not depend on the question is done once per page.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from zs_env.hygiene import neutralize
from zs_env.prompt import render_document, render_page
from zs_env.question import Question
from zs_env.scoring import padded_answers, padded_words
from zs_env.search import Document, SearchPage


class AdmittedPage(NamedTuple):
    """A page as it stands in a transcript.

    Attributes:
        documents: with their provenance.
        texts: each document in words.
        message: the page in words.
    """

    documents: tuple[Document, ...]
    texts: tuple[str, ...]
    message: str


def admit_page(
    page: SearchPage, useful: tuple[bool, ...], answers: tuple[str, ...], max_chars: int
) -> AdmittedPage:
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
    message, texts, admitted = _admit_once(page.documents, useful, page.engine, max_chars)
    golds = None if _is_yes_no(answers) else padded_answers(answers)
    if golds is None:
        return AdmittedPage(tuple([document.plain for document in admitted]), texts, message)
    judged = []
    for document in admitted:
        holds = False
        for gold in golds:
            if gold in document.words:
                holds = True
                break
        judged.append((document.holding if holds else document.silent) or document.judge(holds))
    return AdmittedPage(tuple(judged), texts, message)


class _Admitted:
    """A document that is ready but for whether it contains the answer of the question.

    Attributes:
        plain: the document as long as nobody asks.
        words: what is searched for answers.
        holding: the document that contains the answer, once it was needed.
        silent: the document that does not, once it was needed.
    """

    __slots__ = ("holding", "plain", "silent", "words")

    def __init__(self, document: Document) -> None:
        self.plain = document
        self.words = padded_words(f"{document.title} {document.text}")
        self.holding: Document | None = None
        self.silent: Document | None = None

    def judge(self, holds: bool) -> Document:
        """Make the document that contains the answer, or the one that does not."""
        judged = replace(self.plain, contains_answer=holds)
        if holds:
            self.holding = judged
        else:
            self.silent = judged
        return judged


_Page = tuple[str, tuple[str, ...], tuple[_Admitted, ...]]
# Keyed by the identity of the documents, which the entry keeps alive: hashing them is slow.
_admitted_pages: dict[tuple[int, tuple[bool, ...], str, int], tuple[object, _Page]] = {}
_MAX_PAGES = 2048


def _admit_once(
    documents: tuple[Document, ...], useful: tuple[bool, ...], engine: str, max_chars: int
) -> _Page:
    """Return a page in words, its documents in words, and these, from memory where known."""
    key = (id(documents), useful, engine, max_chars)
    known = _admitted_pages.get(key)
    if known is not None:
        return known[1]
    ready = [
        _admit(document, rank, asked, engine, max_chars)
        for rank, (document, asked) in enumerate(zip(documents, useful, strict=False))
    ]
    page = render_page(ready), tuple(map(render_document, ready)), tuple(map(_Admitted, ready))
    # Whole web pages stay in no memory.
    if all(len(document.title) + len(document.text) <= max_chars for document in documents):
        if len(_admitted_pages) >= _MAX_PAGES:
            _admitted_pages.clear()
        _admitted_pages[key] = (documents, page)
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
    title = neutralize(document.title[:max_chars])
    room = max_chars - len(title)
    # By position: `replace` takes three times as long, and this runs for every fresh document.
    return Document(
        neutralize(document.text[:room]),
        title,
        useful if document.useful is None else document.useful,
        document.engine or engine,
        rank,
        None,
        len(document.title) + len(document.text) > max_chars,
        document.checks,
        document.metadata,
    )


@lru_cache(maxsize=4096)
def _is_yes_no(answers: tuple[str, ...]) -> bool:
    return Question(id="", text="", answers=answers).is_yes_no
