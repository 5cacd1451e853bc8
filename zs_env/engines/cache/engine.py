"""A cache around any engine: equal requests get the same page.

The key of a page is the engine's fingerprint and the whole request with its seed, so a page is
never returned for another question, noise draw or model. If the engine is `query_only`, the key
is the query and the number of documents.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from zs_env.engines.cache.store import PageStore
from zs_env.search.deadline import OtherCall
from zs_env.search.engine import Answer, EngineWrapper, engine_label, raise_single, search_checked
from zs_env.search.types import BudgetExceeded, SearchCost, SearchError, SearchPage, SearchRequest
from zs_env.text.paths import local_path

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
    in a batch or in several threads at the same time, make one engine call; if that call misses its
    deadline, the requests that waited for it make their own. Cached pages cost nothing and count as
    `cost.cached`. Failures are not cached.

    Args:
        engine: the engine to call for missing pages. In replay it may be None if `fingerprint` is
            given, or if the file has the pages of one engine only.
        path: the file (SQLite); None keeps pages in memory only.
        mode: "live", "record" or "replay".
        fingerprint: replaces the fingerprint of the engine.
        max_pages: pages kept in memory; the least recently used are dropped.

    Raises:
        ValueError: if the mode does not fit the other arguments, the engine has no fingerprint, or
            the file is not a usable cache.
        FileNotFoundError: if there is no file to replay.
    """

    thread_safe = True

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
        self._store = None if path is None else PageStore(local_path(path), mode=mode)
        self._fingerprint = self._choose_fingerprint(fingerprint)
        self.query_only = self._fingerprint.startswith(_QUERY_ONLY)
        self.supports_noise = self.supports_noise and not self.query_only
        self._memory: OrderedDict[SearchRequest, SearchPage] = OrderedDict()
        self._running: dict[SearchRequest, _Fetch] = {}  # in any thread
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the engine; it starts with "by-query/" if the engine is query-only."""
        return self._fingerprint

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request, with one engine call for all missing pages.

        A request whose page cannot be found, made or stored has a SearchError in its place.

        Raises:
            SearchError: if the file cannot be read, or the only request fails.
        """
        if self.query_only:
            requests = [request.shared() for request in requests]
        found: dict[SearchRequest, Answer] = {}
        awaited: dict[SearchRequest, _Fetch] = {}
        missing: list[SearchRequest] = []
        with self._lock:
            for request in dict.fromkeys(requests):
                page = self._memory.get(request)
                if page is not None:
                    self._memory.move_to_end(request)
                    found[request] = page
                elif request in self._running:
                    awaited[request] = self._running[request]
                else:
                    missing.append(request)
            fetch = self._start(missing) if missing else None
        if fetch is not None:
            found |= self._fetch(missing, fetch)
        found |= self._await(awaited)
        answers: list[Answer] = []
        seen: set[SearchRequest] = set()
        for request in requests:
            page = found[request]
            if isinstance(page, SearchPage) and request in seen:
                page = replace(page, cost=_CACHED)
            seen.add(request)
            answers.append(page)
        return raise_single(answers)

    def _await(self, awaited: dict[SearchRequest, _Fetch]) -> dict[SearchRequest, Answer]:
        """Return the pages that other threads search for; search for those that they abandon."""
        found: dict[SearchRequest, Answer] = {}
        abandoned: list[SearchRequest] = []
        for request, other in awaited.items():
            ended = other.wait()
            if other.budget_error is not None:
                raise BudgetExceeded(str(other.budget_error))
            if request in other.answers:
                found[request] = other.answers[request]
            elif ended:
                found[request] = SearchError("an equal request of another thread failed")
            else:
                abandoned.append(request)
        if abandoned:
            with self._lock:
                fetch = self._start(abandoned)
            found |= self._fetch(abandoned, fetch)
        return found

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
            fingerprint = given or self.engines[0].fingerprint
            if fingerprint is None:
                raise ValueError(
                    f"the engine {engine_label(self.engines[0])} has no fingerprint, so its pages "
                    "cannot be cached; give it an attribute `fingerprint` that changes with its "
                    "pages, or pass fingerprint="
                )
            return mark + fingerprint.removeprefix(mark)
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

    def _start(self, requests: list[SearchRequest]) -> _Fetch:
        """Mark requests as running; the caller holds the lock."""
        fetch = _Fetch()
        self._running |= dict.fromkeys(requests, fetch)
        return fetch

    def _fetch(self, requests: list[SearchRequest], fetch: _Fetch) -> dict[SearchRequest, Answer]:
        """Find the pages of requests, keep them, and pass them to the threads that wait."""
        try:
            found = self._load_or_search(requests)
            with self._lock:
                for request, answer in found.items():
                    if isinstance(answer, SearchPage):
                        # A call that was abandoned may end late: the first page is kept.
                        kept = self._memory.setdefault(request, replace(answer, cost=_CACHED))
                        fetch.answers[request] = kept
                        found[request] = replace(kept, cost=answer.cost)
                    else:
                        fetch.answers[request] = answer
                while len(self._memory) > self.max_pages:
                    self._memory.popitem(last=False)
        except BudgetExceeded as error:
            fetch.budget_error = error
            raise
        finally:
            with self._lock:
                for request in requests:
                    if self._running.get(request) is fetch:
                        del self._running[request]
            fetch.ended.set()
        return found

    def _load_or_search(self, requests: list[SearchRequest]) -> dict[SearchRequest, Answer]:
        """Return the pages of requests from the file, and from the engine."""
        found: dict[SearchRequest, Answer] = {}
        if self._store is not None:
            found |= self._store.load(self._fingerprint, requests)
        missing = [request for request in requests if request not in found]
        if self.mode == "replay":
            path = self._store and self._store.path
            return found | {
                request: SearchError(
                    f"the query {request.query!r} (question {request.question!r}, seed "
                    f"{request.seed}) is not recorded in {path}; record the same episodes with the "
                    "same engine, settings and seeds first"
                )
                for request in missing
            }
        if missing:
            new = dict(zip(missing, search_checked(self.engines[0], missing), strict=True))
            pages = {one: page for one, page in new.items() if isinstance(page, SearchPage)}
            if self._store is not None and pages:
                new |= self._store.save(self._fingerprint, pages)
            found |= new
        return found


class _Fetch(OtherCall):
    """A running call for missing pages, and its result for the threads that wait for it."""

    __slots__ = ("answers", "budget_error")

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[SearchRequest, Answer] = {}
        self.budget_error: BudgetExceeded | None = None
