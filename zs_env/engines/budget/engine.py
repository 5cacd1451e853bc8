"""A meter around any engine: a ledger of every page's cost, and a budget that ends the run."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zs_env.engines.budget.ledger import Ledger
from zs_env.search import engine as optional
from zs_env.search.client import Costs
from zs_env.search.prices import Prices
from zs_env.search.types import BudgetExceeded, SearchEngine, SearchError, SearchPage, SearchRequest


class MeteredEngine:
    """Passes requests on, and keeps account.

    Before each call the dearest search so far, times the searches in the batch, must fit into what
    the calls under way leave of the budget; until one is known, searches go one after the other.

    Args:
        engine: what is asked. Around a cache, hits are accounted for as well.
        prices: of tokens and machine time.
        budget: US dollars; None for no limit. What a file already holds counts.
        path: ledger of JSON lines, one per page; continued where it exists, None for none. Meters
            with the same ledger have one account, in other processes too.

    Raises:
        ValueError: if the budget is not positive or nothing has a price, or the file is no ledger.
    """

    def __init__(
        self,
        engine: SearchEngine,
        *,
        prices: Prices | None = None,
        budget: float | None = None,
        path: str | Path | None = None,
    ) -> None:
        if budget is not None and not 0 < budget < float("inf"):
            raise ValueError(f"budget must be positive, got {budget}")
        self.engine, self.prices, self.budget = engine, prices or Prices(), budget
        if budget is not None and self.prices.all_free:
            raise ValueError(
                "a budget needs prices to be spent by, got none; give what the engine is paid for: "
                'completion_tokens, prompt_tokens, hour, or call, as in {"call": 0.00917}'
            )
        self.costs = Costs()
        self._ledger = None if path is None else Ledger(Path(path))
        self._dearest = 0.0
        self._reserved = 0.0  # for the calls under way
        self._lock, self._one_by_one = threading.Lock(), threading.Lock()
        self._read_ledger()

    @property
    def name(self) -> str:
        """Name of the engine behind it."""
        return getattr(self.engine, "name", "")

    @property
    def local(self) -> bool:
        """Whether the engine behind it only computes."""
        return optional.is_local(self.engine)

    @property
    def by_query(self) -> bool:
        """Whether the engine behind it sees only queries."""
        return optional.sees_only_queries(self.engine)

    @property
    def scheduled(self) -> bool:
        """Whether the engine's pages depend on the training step."""
        return optional.is_scheduled(self.engine)

    def at_step(self, step: int) -> None:
        """Tell the engine the training step."""
        optional.at_step(self.engine, step)

    @property
    def fingerprint(self) -> str:
        """That of the engine: a meter changes no page."""
        return optional.fingerprint_of(self.engine)

    @property
    def spent(self) -> float:
        """US dollars so far."""
        return self.prices.of(self.costs)

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage | SearchError]:
        """Return what the engine returns.

        Raises:
            BudgetExceeded: if the batch might cost more than is left.
            SearchError: if the engine raises it, or the ledger cannot be written.
        """
        if not requests:
            with self._lock:
                self._read_ledger()
        pages: list[SearchPage | SearchError] = []
        while self.budget is not None and not self._dearest and len(pages) < len(requests):
            with self._one_by_one:
                if not self._dearest:
                    pages += self._ask(requests[len(pages) : len(pages) + 1])
            if pages and isinstance(pages[-1], SearchError):
                break  # an engine that fails takes nothing and tells no price
        left = requests[len(pages) :]
        return pages + self._ask(left) if left else pages

    def close(self) -> None:
        """Close the engine, if it can be closed."""
        optional.close(self.engine)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["_lock"], state["_one_by_one"]
        return state | {"_reserved": 0.0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _one_by_one=threading.Lock())

    def _ask(self, requests: Sequence[SearchRequest]) -> list[SearchPage | SearchError]:
        with self._lock:
            self._read_ledger()
            expected = self._dearest * len(requests)
            self._check_budget(expected, len(requests))
            self._reserved += expected
        try:
            pages = list(self.engine.search(requests))
            with self._lock:
                self._account(requests, pages)
        finally:
            with self._lock:
                self._reserved -= expected
        return pages

    def _check_budget(self, expected: float, count: int) -> None:
        gone = self.spent + self._reserved
        if self.budget is not None and (gone + expected > self.budget or gone >= self.budget):
            raise BudgetExceeded(
                f"${gone:.4f} of the budget of ${self.budget:.4f} are spent or under way, and "
                f"{count} searches may cost ${expected:.4f}; raise the budget and go on"
            )

    def _account(
        self, requests: Sequence[SearchRequest], pages: Sequence[SearchPage | SearchError]
    ) -> None:
        self.costs.batches += 1
        found = [page for page in pages if isinstance(page, SearchPage)]
        failures = len(pages) - len(found)
        self.costs.add(Costs(searches=failures, failures=failures))
        if self._ledger is None:
            for request, page in zip(requests, pages, strict=False):
                if isinstance(page, SearchPage):
                    one = Costs(searches=1)
                    one.record(request, page)
                    self._add(one)
        elif found:
            try:
                self._ledger.write(found)
            except OSError as error:
                raise SearchError(
                    f"the ledger {self._ledger.path} cannot be written: {error}"
                ) from error
            self._read_ledger()

    def _read_ledger(self) -> None:
        for one in self._ledger.read_on() if self._ledger else ():
            self._add(one)

    def _add(self, one: Costs) -> None:
        self._dearest = max(self._dearest, self.prices.of(one))
        self.costs.add(one)
