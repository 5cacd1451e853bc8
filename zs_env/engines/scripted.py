"""A search engine that says what it is told: for tests, demonstrations and fixed page sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

from zs_env.search.types import Document, SearchCost, SearchPage, SearchRequest

Script = Mapping[str, "PageLike"] | Callable[[SearchRequest], "PageLike"]
PageLike = SearchPage | Sequence[Document | str | Mapping[str, str]]


class ScriptedEngine:
    """Answers from a mapping of queries, or by a function of the request.

    A page is a `SearchPage` or a sequence of documents, each a `Document`, its text, or a mapping
    with `text` and `title`; at most as many are shown as the request wants.

    Args:
        script: query to page, or a function from request to page, which may raise SearchError.
        default: page of the queries that a mapping does not hold.
        fingerprint: part of a cache's key. Where None, a mapping's contents make it, and of a
            function only the name: pass one that changes with what the function says.
    """

    name = "scripted"

    def __init__(
        self, script: Script, *, default: PageLike = (), fingerprint: str | None = None
    ) -> None:
        # Pages are made once: who answers from memory should not be slower than memory.
        self._pages: dict[str, SearchPage] = {}
        self._function: Callable[[SearchRequest], PageLike] | None = None
        if isinstance(script, Mapping):
            self._pages = {query: _page(page) for query, page in script.items()}
        else:
            self._function = script
        self._default = _page(default)
        self.fingerprint = fingerprint or _fingerprint(script, default)
        # A function may do anything, a mapping only answers.
        self.local = isinstance(script, Mapping)

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage]:
        """Return one page per request."""
        return [self._page(request) for request in requests]

    def _page(self, request: SearchRequest) -> SearchPage:
        if self._function is not None:
            page = _page(self._function(request))
        else:
            page = self._pages.get(request.query, self._default)
        wanted = len(request.useful)
        if page.engine != self.name or len(page.documents) <= wanted:
            return page
        return SearchPage(page.documents[:wanted], page.cost, self.name)


def _page(page: PageLike) -> SearchPage:
    """Return a ready page as it is, and documents as a page of this engine."""
    if isinstance(page, SearchPage):
        return page
    return SearchPage(tuple(map(_document, page)), SearchCost(calls=1), ScriptedEngine.name)


def _fingerprint(script: Script, default: PageLike) -> str:
    if isinstance(script, Mapping):
        contents = repr((sorted(script.items()), default)).encode("utf-8", "replace")
        return f"scripted:{blake2b(contents, digest_size=16).hexdigest()}"
    return f"scripted:{getattr(script, '__qualname__', type(script).__qualname__)}"


def _document(item: Document | str | Mapping[str, str]) -> Document:
    if isinstance(item, Document):
        return item
    if isinstance(item, str):
        return Document(item)
    return Document(item["text"], item.get("title", ""))
