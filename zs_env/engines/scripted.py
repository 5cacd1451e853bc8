"""A search engine with given pages, for tests, demonstrations and fixed page sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

from zs_env.search.engine import Answer, SearchEngine, raise_single
from zs_env.search.types import (
    Document,
    NoiseKind,
    SearchCost,
    SearchError,
    SearchPage,
    SearchRequest,
)

Script = Mapping[str, "PageLike"] | Callable[[SearchRequest], "PageLike"]
PageLike = SearchPage | Sequence[Document | str | Mapping[str, str]]


class ScriptedEngine(SearchEngine):
    """Looks pages up in a mapping of queries, or calls a function with the request.

    A page is a `SearchPage` or a sequence of documents, each a `Document`, its text, or a mapping
    with `text` and `title`. Documents beyond the requested number are dropped.

    Args:
        script: query to page, or a function from request to page, which may raise SearchError.
        default: page of queries that are not in the mapping.
        fingerprint: part of the key of a cache. The default is made of the contents of a mapping,
            but only of the name of a function: pass one that changes with its pages.
        supports_noise: whether a function returns noisy documents where `useful` is False.
        noise_kinds: kinds of noise that it returns.
    """

    name = "scripted"

    def __init__(
        self,
        script: Script,
        *,
        default: PageLike = (),
        fingerprint: str | None = None,
        supports_noise: bool = False,
        noise_kinds: Sequence[NoiseKind] = ("irrelevant",),
    ) -> None:
        # Pages are made once, because a lookup should not be slower than a dictionary.
        self._pages: dict[str, SearchPage] = {}
        self._function: Callable[[SearchRequest], PageLike] | None = None
        if isinstance(script, Mapping):
            self._pages = {query: _page(page) for query, page in script.items()}
        else:
            self._function = script
        self._default = _page(default)
        self.fingerprint = fingerprint or _fingerprint(script, default)
        # A function may block.
        self.in_process = self.thread_safe = isinstance(script, Mapping)
        self.supports_noise, self.noise_kinds = supports_noise, tuple(noise_kinds)
        if supports_noise and isinstance(script, Mapping):
            raise ValueError("a mapping of queries to pages cannot support noise; pass a function")

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request, with a SearchError where the function raised it.

        Raises:
            SearchError: if there is only one request, and the function raised it.
        """
        return raise_single([self._page(request) for request in requests])

    def _page(self, request: SearchRequest) -> Answer:
        if self._function is not None:
            try:
                page = _page(self._function(request))
            except SearchError as error:
                return error
        else:
            page = self._pages.get(request.query, self._default)
        wanted = len(request.expected)
        if page.engine != self.name or len(page.documents) <= wanted:
            return page
        return SearchPage(page.documents[:wanted], page.cost, self.name)


def _page(page: PageLike) -> SearchPage:
    """Return a SearchPage unchanged, and documents as a page of this engine."""
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
