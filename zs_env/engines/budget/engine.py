"""Counts the cost of every page, and stops the run when a budget is spent."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zs_env.engines.budget.ledger import Ledger
from zs_env.search.deadline import CallLock
from zs_env.search.engine import Answer, EngineWrapper, search_checked
from zs_env.search.prices import PriceTable
from zs_env.search.types import (
    BudgetExceeded,
    SearchCost,
    SearchError,
    SearchPage,
    SearchRequest,
)
from zs_env.text.paths import local_path


class MeteredEngine(EngineWrapper):
    """Passes requests on to an engine and counts the cost.

    A batch runs only if `max_cost * len(batch)` fits into the unreserved budget. Until the cost
    of one search is known, searches run one after the other.

    Args:
        engine: the engine. Around a cache, cached pages are counted as well.
        prices: prices of calls, tokens and machine time.
        budget: US dollars; None for no limit. The costs in the file count.
        path: the ledger, a file of JSON lines with one line per page; an existing file is
            continued; None writes none. Several processes may share a ledger and its budget.

    Attributes:
        costs: cost of all searches so far.
        max_cost: US dollars of the most expensive search so far.

    Raises:
        ValueError: if the budget is not positive, no price is set, or the file is not a ledger.
    """

    thread_safe = True

    def __init__(
        self,
        engine: Any,
        *,
        prices: PriceTable | None = None,
        budget: float | None = None,
        path: str | Path | None = None,
    ) -> None:
        super().__init__(engine)
        if budget is not None and not 0 < budget < float("inf"):
            raise ValueError(f"budget must be positive, got {budget}")
        self.prices, self.budget = prices or PriceTable(), budget
        if budget is not None and self.prices.is_free:
            raise ValueError(
                "a budget needs prices, got none; set the prices of the engine: completion_tokens, "
                'prompt_tokens, hour, or call, as in {"call": 0.00917}'
            )
        self.costs = SearchCost()
        self.max_cost = 0.0
        self._reserved = 0.0  # US dollars, for running calls
        self._ledger = None if path is None else Ledger(local_path(path))
        self._lock, self._first_search = threading.Lock(), CallLock()
        self._add(self._ledger.read_new() if self._ledger else [])

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the engine: counting does not change pages."""
        return self.engines[0].fingerprint

    @property
    def spent(self) -> float:
        """US dollars so far."""
        return self.prices.dollars(self.costs)

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return the pages of the engine.

        Raises:
            BudgetExceeded: if the batch might cost more than the rest of the budget.
            SearchError: if the ledger cannot be written.
        """
        if not requests and self._ledger is not None:
            with self._lock:
                self._add(self._ledger.read_new())
        pages: list[Answer] = []
        while self.budget is not None and not self.max_cost and len(pages) < len(requests):
            with self._first_search():
                if not self.max_cost:
                    pages += self._search_within_budget(requests[len(pages) : len(pages) + 1])
        rest = requests[len(pages) :]
        return pages + self._search_within_budget(rest) if rest else pages

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["_lock"]
        return state | {"_reserved": 0.0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _search_within_budget(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        with self._lock:
            if self._ledger is not None:
                self._add(self._ledger.read_new())
            expected = self.max_cost * len(requests)
            used = self.prices.dollars(self.costs) + self._reserved
            if self.budget is not None and (used + expected > self.budget or used >= self.budget):
                raise BudgetExceeded(
                    f"${used:.4f} of the budget of ${self.budget:.4f} are spent or reserved, and "
                    f"{len(requests)} searches may cost ${expected:.4f}; raise the budget to "
                    "continue"
                )
            self._reserved += expected
        try:
            answers = search_checked(self.engines[0], requests)
            pages = [page for page in answers if isinstance(page, SearchPage)]
            failures = len(answers) - len(pages)
            with self._lock:
                self.costs += SearchCost(batches=1, searches=failures, failures=failures)
                if self._ledger is None:
                    self._add([page.cost for page in pages])
                elif pages:
                    self._write(pages)
                    self._add(self._ledger.read_new())
        finally:
            with self._lock:
                self._reserved -= expected
        return answers

    def _write(self, pages: Sequence[SearchPage]) -> None:
        """Write the costs of pages, which are paid even if they cannot be written."""
        assert self._ledger is not None
        try:
            self._ledger.write(pages)
        except SearchError as error:
            self._add([page.cost for page in pages])
            if self.budget is None:
                raise
            raise BudgetExceeded(f"a budget needs its ledger, but {error}") from error

    def _add(self, page_costs: Sequence[SearchCost]) -> None:
        for cost in page_costs:
            self.max_cost = max(self.max_cost, self.prices.dollars(cost))
            self.costs += cost
        self.costs.searches += len(page_costs)
