"""Lets a page of documents into a transcript: neutral, cut to size, with its provenance.

Engines that answer from memory return the same page again and again, to other questions as well, so
everything that does not depend on the question is done once per page.
"""

from __future__ import annotations

from functools import lru_cache

from zs_env.hygiene import neutralize
from zs_env.prompt import render_page
from zs_env.question import Question
from zs_env.scoring import padded_answers, padded_words
from zs_env.search import Document, SearchPage


def admit_page(
    page: SearchPage, useful: tuple[bool, ...], answers: tuple[str, ...], max_chars: int
) -> tuple[tuple[Document, ...], str]:
    """Return a page's documents as they stand in a transcript, and the words that show them.

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
    if _is_small(page.documents, max_chars):
        message, documents = _read_again(_Same(page.documents), useful, page.engine, max_chars)
    else:
        message, documents = _read(page.documents, useful, page.engine, max_chars)
    golds = None if _is_yes_no(answers) else padded_answers(answers)
    return tuple([document.judged(golds) for document in documents]), message


class _Admitted:
    """A document that is ready but for whether it contains the answer of the question."""

    __slots__ = ("_judged", "_plain", "_words")

    def __init__(self, document: Document) -> None:
        self._plain = document
        self._words = padded_words(f"{document.title} {document.text}")
        self._judged: dict[bool, Document] = {}

    def judged(self, golds: tuple[str, ...] | None) -> Document:
        """Return the document for a question with these padded answers."""
        if golds is None:
            return self._plain
        holds = False
        for gold in golds:
            if gold in self._words:
                holds = True
                break
        document = self._judged.get(holds)
        if document is None:
            plain = self._plain
            document = self._judged[holds] = Document(
                plain.text,
                plain.title,
                plain.useful,
                plain.engine,
                plain.rank,
                holds,
                plain.truncated,
                plain.checks,
                plain.metadata,
            )
        return document


class _Same:
    """A cache key that is equal to nothing but the same object: hashing its contents is slow."""

    __slots__ = ("documents",)

    def __init__(self, documents: tuple[Document, ...]) -> None:
        self.documents = documents

    def __hash__(self) -> int:
        return id(self.documents)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.documents is other.documents


def _is_small(documents: tuple[Document, ...], max_chars: int) -> bool:
    """Whether every document is one and fits: whole web pages stay in no cache."""
    for document in documents:
        if not isinstance(document, Document) or not isinstance(document.text, str):
            return False
        if len(document.text) > max_chars:
            return False
    return True


def _read(
    documents: tuple[Document, ...], useful: tuple[bool, ...], engine: str, max_chars: int
) -> tuple[str, tuple[_Admitted, ...]]:
    """Return the words that show a page, and its documents."""
    admitted = [
        _admit(document, rank, asked, engine, max_chars)
        for rank, (document, asked) in enumerate(zip(documents, useful, strict=False))
    ]
    return render_page(admitted), tuple(map(_Admitted, admitted))


@lru_cache(maxsize=2048)
def _read_again(
    page: _Same, useful: tuple[bool, ...], engine: str, max_chars: int
) -> tuple[str, tuple[_Admitted, ...]]:
    return _read(page.documents, useful, engine, max_chars)


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
