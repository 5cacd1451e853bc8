"""A cache around any engine: equal requests get the same page.

The key of a page is the engine's fingerprint and the whole request with its seed, so a page is
never returned for another question, noise draw or model. If the engine is `query_only`, the key
is the query and the number of documents.
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
from zs_env.search.engine import Answer, EngineWrapper, search_checked
from zs_env.search.types import BudgetExceeded, SearchCost, SearchError, SearchPage, SearchRequest

CacheMode = Literal["live", "record", "replay"]
_CACHED = SearchCost(cached=True)
# Starts the fingerprint of a query-only engine, so that a replay without the engine knows.
_QUERY_ONLY = "by-query/"


class CachedEngine(EngineWrapper):
    """Returns pages from memory, then from a file, then from the engine.

    Modes:
        live: pages are kept in memory, and in the file if there is one.
        record: like live, with a file; each page is safe on disk, also after a power failure,
            before it is returned. A recorded page is never replaced.
        replay: the engine is never called; a request that is not in the file is a SearchError.

    Several processes and threads may share a file. The page that is stored first wins, and the
    others return it, so every process sees the pages in the file. Equal requests of one process,
    in a batch or in several threads at the same time, make one engine call. Cached pages cost
    nothing and count as `cost.cached`. Failures are not cached.

    Args:
        engine: the engine to call for missing pages. In replay it may be None if `fingerprint` is
            given, or if the file has the pages of one engine only.
        path: the file (SQLite); None keeps pages in memory only.
        mode: "live", "record" or "replay".
        fingerprint: replaces the fingerprint of the engine.
        max_pages: pages kept in memory; the least recently used are dropped.

    Raises:
        ValueError: if the mode does not fit the other arguments, or the file is not a usable
            cache.
        FileNotFoundError: if there is no file to replay.
    """

    def __init__(
        self,
        engine: Any = None,
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
            raise ValueError(f"mode {mode!r} needs an engine; only a replay works without one")
        super().__init__(*([] if engine is None else [engine]))
        if self.step_dependent:
            raise ValueError(
                "a cache would return pages of earlier training steps; put caches around the "
                "engines of a scheduled mixture instead"
            )
        if max_pages < 1:
            raise ValueError(f"max_pages must be at least 1, got {max_pages}")
        self.mode, self.max_pages = mode, max_pages
        self.name = self.name if self.engines else "replay"
        self.in_process = self.in_process or mode == "replay"
        self._store = None if path is None else PageStore(Path(path), mode=mode)
        self._fingerprint = self._choose_fingerprint(fingerprint)
        self.query_only = self._fingerprint.startswith(_QUERY_ONLY)
        self._memory: OrderedDict[SearchRequest, SearchPage] = OrderedDict()
        self._running: dict[SearchRequest, Future[Answer]] = {}  # in any thread
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the engine; it starts with "by-query/" if the engine is query-only."""
        return self._fingerprint

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request, with one engine call for all missing pages.

        Raises:
            SearchError: if the engine raises it or returns no list of pages, a replay lacks the
                page, or the file cannot be read or written.
        """
        if self.query_only:
            requests = [
                SearchRequest(one.query, None, None, (True,) * len(one.useful), 0)
                for one in requests
            ]
        answers: dict[int, Answer] = {}
        missing: dict[SearchRequest, int] = {}  # with the first place in the batch
        awaited: dict[int, Future[Answer]] = {}
        with self._lock:
            for place, request in enumerate(requests):
                page = self._memory.get(request)
                if page is not None:
                    self._memory.move_to_end(request)
                    answers[place] = page
                elif request in self._running:
                    awaited[place] = self._running[request]
                else:
                    missing[request] = place
                    self._running[request] = Future()
        if missing:
            found = self._fetch(list(missing))
            answers.update((place, found[request]) for request, place in missing.items())
        for place, future in awaited.items():
            # A new exception for each thread: a shared one would collect all tracebacks.
            error = future.exception()
            if isinstance(error, BudgetExceeded):
                raise BudgetExceeded(str(error)) from error
            if error is not None:
                raise SearchError(str(error)) from error
            answers[place] = future.result()
        return [answers[place] for place in range(len(requests))]

    def close(self) -> None:
        """Close the file and the engine."""
        if self._store is not None:
            self._store.close()
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__, _memory=OrderedDict(), _running={})
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _choose_fingerprint(self, given: str | None) -> str:
        if self.engines:
            mark = _QUERY_ONLY if self.query_only else ""
            return mark + (given or self.engines[0].fingerprint).removeprefix(mark)
        assert self._store is not None, "only a replay has no engine, and it has a file"
        known = self._store.fingerprints()
        if given:
            return _QUERY_ONLY + given if _QUERY_ONLY + given in known else given
        if len(known) != 1:
            raise ValueError(
                f"{self._store.path} holds pages of {len(known)} engines {known}; pass "
                "fingerprint= to select one"
            )
        return known[0]

    def _fetch(self, requests: list[SearchRequest]) -> dict[SearchRequest, Answer]:
        """Find the pages of requests, keep them, and pass them to the threads that wait."""
        found: dict[SearchRequest, Answer] = {}
        try:
            if self._store is not None:
                found |= self._store.load(self._fingerprint, requests)
            missing = [request for request in requests if request not in found]
            if missing and self.mode == "replay":
                raise SearchError(
                    f"the query {missing[0].query!r} (question {missing[0].question!r}, seed "
                    f"{missing[0].seed}) is not recorded in {self._store and self._store.path}; "
                    "record the same episodes with the same engine, settings and seeds first"
                )
            if missing:
                new = dict(zip(missing, search_checked(self.engines[0], missing), strict=True))
                pages = {one: page for one, page in new.items() if isinstance(page, SearchPage)}
                if self._store is not None and pages:
                    new |= self._store.save(self._fingerprint, pages)
                found |= new
        except BaseException as error:
            with self._lock:
                for request in requests:
                    self._running.pop(request).set_exception(error)
            raise
        with self._lock:
            for request in requests:
                answer = found[request]
                if isinstance(answer, SearchPage):
                    self._memory[request] = answer = replace(answer, cost=_CACHED)
                self._running.pop(request).set_result(answer)
            while len(self._memory) > self.max_pages:
                self._memory.popitem(last=False)
        return found
