"""A cache around any engine: equal requests get the page that the first of them got.

Content-addressed: the key is the engine's fingerprint and the whole request, seed and all, so a
page can never be served for another question, another noise draw or another model. Of an engine
that sees only queries (`by_query`) the key is query and number of documents.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from zs_env.engines.cache.store import PageStore
from zs_env.search import engine as optional
from zs_env.search.types import (
    BudgetExceeded,
    SearchCost,
    SearchEngine,
    SearchError,
    SearchPage,
    SearchRequest,
)

CacheMode = Literal["live", "record", "replay"]
_CACHED = SearchCost(cached=True)
# Marks the fingerprints of engines that see only queries, so that a replay knows without one.
_BY_QUERY = "by-query/"


class CachedEngine:
    """Answers from memory, then from one file, then from the engine.

    Modes:
        live: pages are kept in memory, and in the file where there is one.
        record: as live; a file is needed, and each page is safe on the disk, also against loss
            of power, before it is returned. A recorded page is never replaced.
        replay: the engine is never called; a request that the file does not hold is a SearchError.

    Several processes and threads may share a file. Whoever stores a page first wins and the others
    return that page, so what every process saw is what the file holds. Equal requests of one
    process, in a batch or at the same time in several threads, make one engine call. A hit costs
    nothing and says `cost.cached`. Failures are not kept, whether of a call or of one request.

    Args:
        engine: what is asked on a miss. In replay it may be None where `fingerprint` is given or
            the file holds the pages of one engine only.
        path: the file (SQLite); None keeps pages in memory only.
        mode: "live", "record" or "replay".
        fingerprint: of the engine; where None its own, or else the name of its class, which
            does not tell two settings of one class apart.
        max_pages: pages kept in memory; those used longest ago go first.

    Raises:
        ValueError: if the mode does not fit the rest, or the file is not a usable cache.
        FileNotFoundError: if there is no file to replay.
    """

    def __init__(
        self,
        engine: SearchEngine | None,
        path: str | Path | None = None,
        mode: CacheMode = "live",
        *,
        fingerprint: str | None = None,
        max_pages: int = 100_000,
    ) -> None:
        if mode not in get_args(CacheMode):
            raise ValueError(f"cache mode is one of {get_args(CacheMode)}, got {mode!r}")
        if path is None and mode != "live":
            raise ValueError(f"mode {mode!r} needs a file; give path=")
        if engine is None and mode != "replay":
            raise ValueError(f"mode {mode!r} needs an engine; only a replay can do without")
        if optional.is_scheduled(engine):
            raise ValueError(
                "a cache would go on with the pages of earlier training steps; put caches around "
                "the engines of a scheduled mixture instead"
            )
        if max_pages < 1:
            raise ValueError(f"max_pages must be at least 1, got {max_pages}")
        self.engine, self.mode, self.max_pages = engine, mode, max_pages
        self._store = None if path is None else PageStore(Path(path), mode=mode)
        self.fingerprint = self._choose_fingerprint(fingerprint)
        self._by_query = self.fingerprint.startswith(_BY_QUERY)
        self._memory: OrderedDict[SearchRequest, SearchPage] = OrderedDict()
        self._waiting: dict[SearchRequest, Future[SearchPage | SearchError]] = {}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Name of the engine behind it."""
        return getattr(self.engine, "name", "replay" if self.engine is None else "")

    @property
    def local(self) -> bool:
        """Whether it only computes: where the engine does, and always in replay."""
        return self.mode == "replay" or optional.is_local(self.engine)

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage | SearchError]:
        """Return one page per request, or the error that stands in its place, by one engine call.

        Raises:
            SearchError: if the engine raises it or breaks its contract, a replay lacks the page,
                or the file cannot be read or written.
        """
        requests = [self._as_asked(request) for request in requests]
        pages: dict[int, SearchPage | SearchError] = {}
        mine: dict[SearchRequest, Future[SearchPage | SearchError]] = {}
        theirs: dict[int, Future[SearchPage | SearchError]] = {}
        with self._lock:
            for place, request in enumerate(requests):
                page = self._memory.get(request)
                if page is not None:
                    self._memory.move_to_end(request)
                    pages[place] = page
                elif request in self._waiting:
                    theirs[place] = self._waiting[request]
                else:
                    mine[request] = self._waiting[request] = Future()
        if mine:
            first_of = {request: requests.index(request) for request in mine}
            for request, page in self._fetch(mine).items():
                pages[first_of[request]] = page
        for place, future in theirs.items():
            # One exception object must not collect the tracebacks of several threads.
            error = future.exception()
            if isinstance(error, BudgetExceeded):
                raise BudgetExceeded(str(error)) from error
            if error is not None:
                raise SearchError(str(error)) from error
            pages[place] = future.result()
        return [pages[place] for place in range(len(requests))]

    def close(self) -> None:
        """Close the file and the engine."""
        if self._store is not None:
            self._store.close()
        optional.close(self.engine)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__, _memory=OrderedDict(), _waiting={})
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _choose_fingerprint(self, given: str | None) -> str:
        if self.engine is not None:
            mark = _BY_QUERY if optional.sees_only_queries(self.engine) else ""
            return mark + (given or optional.fingerprint_of(self.engine)).removeprefix(mark)
        assert self._store is not None, "only a replay has no engine, and it has a file"
        known = self._store.fingerprints()
        if given:
            return _BY_QUERY + given if _BY_QUERY + given in known else given
        if len(known) != 1:
            raise ValueError(
                f"{self._store.path} holds pages of {len(known)} engines {known}; pass "
                "fingerprint= to say whose pages to replay"
            )
        return known[0]

    def _as_asked(self, request: SearchRequest) -> SearchRequest:
        """What of a request decides its page."""
        if not self._by_query:
            return request
        return SearchRequest(request.query, None, None, (True,) * len(request.useful), 0)

    def _fetch(
        self, mine: dict[SearchRequest, Future[SearchPage | SearchError]]
    ) -> dict[SearchRequest, SearchPage | SearchError]:
        """Find the pages of requests that this thread alone looks for, and tell who waits."""
        try:
            pages = self._find(list(mine))
        except BaseException as error:
            with self._lock:
                for request in mine:
                    del self._waiting[request]
            for future in mine.values():
                future.set_exception(error)
            raise
        kept = {
            request: replace(page, cost=_CACHED)
            for request, page in pages.items()
            if isinstance(page, SearchPage)
        }
        with self._lock:
            self._memory.update(kept)
            while len(self._memory) > self.max_pages:
                self._memory.popitem(last=False)
            for request in mine:
                del self._waiting[request]
        for request, future in mine.items():
            future.set_result(kept.get(request, pages[request]))
        return pages

    def _find(self, requests: list[SearchRequest]) -> dict[SearchRequest, SearchPage | SearchError]:
        found: dict[SearchRequest, SearchPage | SearchError] = {}
        if self._store is not None:
            found |= self._store.load(self.fingerprint, requests)
        missing = [request for request in requests if request not in found]
        if not missing:
            return found
        if self.mode == "replay" or self.engine is None:
            raise SearchError(
                f"the query {missing[0].query!r} (question {missing[0].question!r}, seed "
                f"{missing[0].seed}) is not recorded in {self._store and self._store.path}; record "
                "the same episodes with the same engine, settings and seeds first"
            )
        pages = self.engine.search(missing)
        if not isinstance(pages, list | tuple) or len(pages) != len(missing):
            given = len(pages) if isinstance(pages, list | tuple) else type(pages).__name__
            raise SearchError(f"wrong number of pages: {given} for {len(missing)} requests")
        fresh: dict[SearchRequest, SearchPage] = {}
        for request, page in zip(missing, pages, strict=True):
            if isinstance(page, SearchPage):
                fresh[request] = page
            elif isinstance(page, SearchError):
                found[request] = page
            else:
                raise SearchError(f"wrong type: {type(page).__name__} in place of a SearchPage")
        if self._store is not None and fresh:
            fresh = self._store.save(self.fingerprint, fresh)
        return found | fresh
