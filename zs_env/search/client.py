"""Calls an engine so that nothing it does can hurt the environment.

Whatever goes wrong becomes a failure: a sentence in place of a page. An engine that hangs is left
behind in its own daemon thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zs_env.episode import Episode
from zs_env.search import engine as optional
from zs_env.search.deadline import TIMED_OUT, PendingCalls
from zs_env.search.types import (
    BudgetExceeded,
    SearchCost,
    SearchEngine,
    SearchError,
    SearchPage,
    SearchRequest,
)

# Long enough for a slow simulator, short enough that nobody waits for a dead one all night.
ENGINE_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Costs:
    """Running totals of what an environment's searches cost; never part of `info`.

    Attributes:
        batches: calls of `SearchEngine.search`.
        searches: requests in them.
        calls: backend calls as the pages report them.
        prompt_tokens: read by a simulator.
        completion_tokens: written by a simulator.
        seconds: wall time as the pages report it.
        cached: pages that came from a cache.
        failures: requests that got no page.
        short_pages: pages with fewer documents than asked for.
        long_pages: pages with more documents than asked for.
    """

    batches: int = 0
    searches: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cached: int = 0
    failures: int = 0
    short_pages: int = 0
    long_pages: int = 0

    def record(self, request: SearchRequest, page: SearchPage) -> None:
        """Add what one page cost."""
        cost = page.cost
        self.calls += cost.calls
        self.prompt_tokens += cost.prompt_tokens
        self.completion_tokens += cost.completion_tokens
        self.seconds += cost.seconds
        self.cached += cost.cached
        given, wanted = len(page.documents), len(request.useful)
        if given != wanted:
            self.short_pages += given < wanted
            self.long_pages += given > wanted

    def add(self, other: Costs) -> None:
        """Add totals of other searches."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class EngineFailure:
    """Why a request got no page."""

    reason: str


class EngineClient:
    """An engine behind a deadline.

    An engine whose attribute `local` is true only computes: it is called directly. Any other is
    called in a worker thread, and after a timeout that call may still be running while the next
    one starts. `serve` makes one call and waits for it; `begin` and `served` make a call for each
    search and wait for whichever ends first.

    Args:
        engine: what answers.
        timeout_s: seconds a call may take; None calls every engine directly.
        owned: whether `close` closes the engine too.
    """

    def __init__(
        self, engine: SearchEngine, *, timeout_s: float | None, owned: bool = False
    ) -> None:
        if timeout_s is not None and timeout_s <= 0:
            raise ValueError(f"engine_timeout_s must be positive or None, got {timeout_s}")
        if not callable(getattr(engine, "search", None)):
            raise TypeError(
                f"an engine has a method search(requests) -> list of SearchPage, got {engine!r}"
            )
        self.engine = engine
        self.timeout_s = timeout_s
        self.costs = Costs()
        self._owned = owned
        self._name = str(getattr(engine, "name", ""))
        self._direct = timeout_s is None or optional.is_local(engine)
        self._calls: PendingCalls | None = None
        self._waiting: dict[int, tuple[Episode, SearchRequest]] = {}
        self._served: list[Episode] = []

    def serve(self, episodes: Sequence[Episode], requests: Sequence[SearchRequest]) -> None:
        """Give each waiting episode its page, or end it void; never hangs.

        Args:
            episodes: those that wait.
            requests: what each of them waits for; together they are one engine call.

        Raises:
            BudgetExceeded: if the engine says that there is no money left; nothing else.
        """
        if self._direct:
            answer = _attempt(self.engine, requests)
        else:
            calls = self._open_calls()
            ticket = calls.begin(requests)
            while ticket not in (answers := calls.wait()):
                self._forget(answers)
            answer = answers.pop(ticket)
            self._forget(answers)
        self._give(answer, episodes, requests)

    def begin(self, episodes: Sequence[Episode], requests: Sequence[SearchRequest]) -> None:
        """Begin to serve waiting episodes, each by a call of its own; see `served`.

        Raises:
            BudgetExceeded: as `serve` does, where the engine is called directly.
        """
        if self._direct:
            if requests:
                self.serve(episodes, requests)
            self._served += episodes
            return
        for episode, request in zip(episodes, requests, strict=True):
            self._waiting[self._open_calls().begin([request])] = (episode, request)

    def has_served(self) -> bool:
        """Whether `served` has something to return at once."""
        return bool(self._served) or (self._calls is not None and self._calls.has_answer())

    def served(self, timeout_s: float | None = None) -> list[Episode]:
        """Return begun episodes that have got their page, or have ended void, since the last time.

        Args:
            timeout_s: how long to wait for the first; None waits as long as a call may take.

        Raises:
            BudgetExceeded: if the engine says that there is no money left.
        """
        ready, self._served = self._served, []
        if self._calls is not None:
            for ticket, answer in self._calls.wait(0.0 if ready else timeout_s).items():
                begun = self._waiting.pop(ticket, None)
                if begun is None:  # of a `serve` that was interrupted
                    continue
                episode, request = begun
                self._give(answer, [episode], [request])
                ready.append(episode)
        return ready

    def _forget(self, tickets: Iterable[int]) -> None:
        """Drop searches whose episodes were left in the middle, by an interruption too."""
        for ticket in tickets:
            self._waiting.pop(ticket, None)

    def _open_calls(self) -> PendingCalls:
        if self._calls is None:
            assert self.timeout_s is not None, "such engines are called directly"
            self._calls = PendingCalls(
                lambda requests: _attempt(self.engine, requests), timeout_s=self.timeout_s
            )
        return self._calls

    def _give(
        self, answer: Any, episodes: Sequence[Episode], requests: Sequence[SearchRequest]
    ) -> None:
        """Hand out what a call returned, or TIMED_OUT."""
        costs = self.costs
        costs.batches += 1
        costs.searches += len(requests)
        pages = self._pages(answer, len(requests))
        if isinstance(pages, EngineFailure):
            costs.failures += len(requests)
            for episode in episodes:
                episode.fail(pages.reason)
            return
        for episode, request, page in zip(episodes, requests, pages, strict=True):
            reason = _flaw(page)
            if reason is None:
                if self._name and not page.engine:
                    page = replace(page, engine=self._name)
                try:
                    episode.receive(page)
                except TypeError as error:
                    reason = f"wrong type: {error}"
                else:
                    costs.record(request, page)
            if reason is not None:
                costs.failures += 1
                episode.fail(reason)

    def at_step(self, step: int) -> None:
        """Tell the engine the training step, counted from 0."""
        optional.at_step(self.engine, step)

    def close(self) -> None:
        """Let the worker threads end, and close the engine where it is owned and can be closed."""
        if self._calls is not None:
            self._calls.close()
            self._calls = None
        if self._owned:
            optional.close(self.engine)
            self._owned = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave out calls under way and the threads that wait for them."""
        return self.__dict__ | {"_calls": None, "_waiting": {}, "_served": []}

    def _pages(self, pages: Any, count: int) -> Sequence[Any] | EngineFailure:
        """Return `count` answers, of whatever type, or what went wrong with all."""
        if pages is TIMED_OUT:
            return EngineFailure(f"timeout: no page within {self.timeout_s} s")
        if isinstance(pages, BudgetExceeded):
            raise pages
        if isinstance(pages, EngineFailure):
            return pages
        if not isinstance(pages, list | tuple):
            return EngineFailure(
                f"wrong type: search() returned {type(pages).__name__}, expected a list"
            )
        if len(pages) != count:
            return EngineFailure(f"wrong number of pages: {len(pages)} for {count} requests")
        return pages


def _attempt(engine: SearchEngine, requests: Sequence[SearchRequest]) -> Any:
    try:
        return engine.search(requests)
    except BudgetExceeded as error:
        return error
    except Exception as error:
        # Any failure of a user's engine is a failure of the search, not of the program.
        return EngineFailure(f"{type(error).__name__}: {error}")


def _flaw(page: object) -> str | None:
    """What makes an answer no page; None where nothing does. Its documents are the episode's."""
    if isinstance(page, SearchError):
        return f"{type(page).__name__}: {page}"
    if not isinstance(page, SearchPage):
        return f"wrong type: {type(page).__name__} in place of a SearchPage"
    if not (isinstance(page.cost, SearchCost) and isinstance(page.engine, str)):
        return (
            "wrong type: a page's cost is a SearchCost and its engine a string, got "
            f"{type(page.cost).__name__} and {type(page.engine).__name__}"
        )
    return None
