"""Calls an engine with a deadline, checks its pages, and counts the cost.

Nothing that an engine does can stop the environment: any error becomes a failed episode. Only a
spent budget ends the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zs_env.episode import Episode
from zs_env.search.deadline import TIMED_OUT, PendingCalls
from zs_env.search.engine import Answer, as_engine, check_timeout, search_checked
from zs_env.search.types import BudgetExceeded, SearchCost, SearchPage, SearchRequest

# Enough for a slow simulator, and short enough to notice an engine that hangs.
ENGINE_TIMEOUT_S = 60.0


class EngineClient:
    """Calls an engine for episodes that wait for a page.

    An engine with `in_process` is called directly. Any other engine is called in a thread; after
    a timeout that call may still be running while the next one starts.

    `search` makes one call for all requests and waits for it. `submit` makes one call per request,
    or one call for all if the engine is not thread-safe; `poll` returns episodes in the order in
    which their calls end.

    Args:
        engine: a SearchEngine, or any object with a method `search`.
        timeout_s: seconds that a call may take; None calls every engine directly.
        owned: whether `close` closes the engine too.

    Raises:
        ValueError: if `timeout_s` is not positive, or the engine's own limit is above it.
    """

    def __init__(self, engine: Any, *, timeout_s: float | None, owned: bool = False) -> None:
        if timeout_s is not None and timeout_s <= 0:
            raise ValueError(f"engine_timeout_s must be positive or None, got {timeout_s}")
        self.engine = as_engine(engine)
        check_timeout(self.engine, timeout_s, "engine_timeout_s")
        self.timeout_s = timeout_s
        self.costs = SearchCost()
        self._owned = owned
        self._start()

    def search(self, episodes: Sequence[Episode], requests: Sequence[SearchRequest]) -> None:
        """Give each waiting episode its page, or fail it.

        Args:
            episodes: episodes that wait for a page.
            requests: their requests; together they are one engine call.

        Raises:
            BudgetExceeded: if the engine's budget is spent.
        """
        if self._calls is None:
            self._deliver(self._call(requests), episodes, requests)
            return
        call_id = self._calls.submit(requests)
        results: dict[int, Any] = {}
        while call_id not in results:
            results = self._calls.wait()
            for ended in results:  # an interruption may have left calls of other episodes
                self._submitted.pop(ended, None)
        self._deliver(results[call_id], episodes, requests)

    def submit(self, episodes: Sequence[Episode], requests: Sequence[SearchRequest]) -> None:
        """Start one call per request; `poll` returns the episodes.

        Raises:
            BudgetExceeded: if the engine is called directly and its budget is spent.
        """
        if self._calls is None:
            if requests:
                self.search(episodes, requests)
            self._ready += episodes
            return
        pairs = list(zip(episodes, requests, strict=True))
        calls = [[pair] for pair in pairs] if self.engine.thread_safe else [pairs] if pairs else []
        for call in calls:
            self._submitted[self._calls.submit([request for _, request in call])] = call

    def can_poll(self) -> bool:
        """Whether `poll` returns an episode without waiting."""
        calls = self._calls
        return bool(self._ready or self._results) or (calls is not None and calls.has_result())

    def poll(self, timeout_s: float | None = None) -> list[Episode]:
        """Return the submitted episodes that have received a page, or failed, since the last call.

        Args:
            timeout_s: longest wait for the first one; None waits as long as a call may take.

        Raises:
            BudgetExceeded: if the engine's budget is spent.
        """
        if self._calls is not None:
            self._results |= self._calls.wait(0.0 if self._ready else timeout_s)
        while self._results:
            call_id = next(iter(self._results))
            result = self._results.pop(call_id)
            # A call without an entry was left by an interrupted `search`.
            call = self._submitted.pop(call_id, [])
            if call:
                episodes, requests = zip(*call, strict=True)
                self._deliver(result, episodes, requests)
                self._ready += episodes
        ready, self._ready = self._ready, []
        return ready

    def close(self) -> None:
        """End the threads, and close the engine if it is owned."""
        if self._calls is not None:
            self._calls.close()
        if self._owned:
            self.engine.close()
            self._owned = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave out pending calls and their threads."""
        return {name: self.__dict__[name] for name in ("engine", "timeout_s", "costs", "_owned")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def _start(self) -> None:
        direct = self.timeout_s is None or self.engine.in_process
        self._calls = None if direct else PendingCalls(self._call, timeout_s=self.timeout_s or 0.0)
        self._submitted: dict[int, list[tuple[Episode, SearchRequest]]] = {}  # by call id
        self._results: dict[int, Any] = {}  # by call id; not delivered yet
        self._ready: list[Episode] = []

    def _call(self, requests: Sequence[SearchRequest]) -> list[Answer] | BudgetExceeded:
        """Return pages or failures, or that the budget is spent."""
        try:
            return search_checked(self.engine, requests)
        except BudgetExceeded as error:
            return error

    def _deliver(
        self, result: Any, episodes: Sequence[Episode], requests: Sequence[SearchRequest]
    ) -> None:
        """Give episodes the result of a call: pages, TIMED_OUT or BudgetExceeded."""
        costs = self.costs
        costs.batches += 1
        costs.searches += len(requests)
        if not isinstance(result, list):
            if isinstance(result, BudgetExceeded):
                raise result
            assert result is TIMED_OUT
            result = [f"timeout: no page within {self.timeout_s} s"] * len(requests)
        for episode, request, page in zip(episodes, requests, result, strict=True):
            if isinstance(page, SearchPage):
                if not page.engine and self.engine.name:
                    page = replace(page, engine=self.engine.name)
                episode.receive(page)
                costs += page.cost
                if len(page.documents) != len(request.expected):
                    costs.short_pages += len(page.documents) < len(request.expected)
                    costs.long_pages += len(page.documents) > len(request.expected)
                continue
            costs.failures += 1
            episode.fail(page if isinstance(page, str) else f"{type(page).__name__}: {page}")
