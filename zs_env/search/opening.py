"""Opens documents of pages by repeating their search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zs_env.search.engine import Answer, SearchEngine
from zs_env.search.types import Document, SearchError, SearchPage, SearchRequest
from zs_env.text.sanitize import sanitize_open


def open_by_search(engine: SearchEngine, requests: Sequence[SearchRequest]) -> list[Answer]:
    """Return the documents of requests as the pages of their searches have them.

    Raises:
        SearchError: as the engine's `search` does.
    """
    searches = [replace(request, document=None) for request in requests]
    pages = engine.search(searches)
    return list(map(opened_page, requests, pages))


def is_shown_as(document: Document, shown: Document) -> bool:
    """Whether a document is shown like this one: sanitized, and perhaps cut."""
    pairs = ((document.title, shown.title), (document.text, shown.text))
    return all(sanitize_open(full[: len(part)]) == sanitize_open(part) for full, part in pairs)


def not_found(document: Document, engine: SearchEngine) -> SearchError:
    """Return the error of a document that an engine does not have."""
    return SearchError(
        f"the engine {engine.name!r} does not have the document {document.title!r} "
        f"({document.text[:80]!r}); open documents of its own pages"
    )


def opened_page(request: SearchRequest, page: Answer, whole: Document | None = None) -> Answer:
    """Return the opened document as the only one of its page.

    Args:
        request: the open.
        page: the page of its search, which has to have the document that was shown.
        whole: the document in full; None if the page has it in full.
    """
    shown = request.document
    assert shown is not None, "an open has a document"
    if not isinstance(page, SearchPage):
        return page
    documents = page.documents[shown.rank : shown.rank + 1]
    if not documents or not is_shown_as(documents[0], shown):
        return SearchError("the search of the opened document returned another page")
    return replace(page, documents=documents if whole is None else (whole,))
