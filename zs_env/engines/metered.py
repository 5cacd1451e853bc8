"""A meter around any engine: a ledger of every page's cost, and a budget that ends the run."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zs_env import optional
from zs_env.engine_call import Costs
from zs_env.prices import Prices
from zs_env.search import BudgetExceeded, SearchEngine, SearchError, SearchPage, SearchRequest


class MeteredEngine:
    """Passes requests on, and keeps account.

    Before each call the dearest search so far, times the searches in the batch, must fit into what
    is left of the budget; until one is known, a batch begins with one search by itself.

    Args:
        engine: what is asked. Around a cache, hits are accounted for as well.
        prices: of tokens and machine time.
        budget: US dollars; None for no limit. What a file already holds counts.
        path: ledger of JSON lines, one per page; continued where it exists, None for none.

    Raises:
        ValueError: if the budget is not positive, or the file is no ledger.
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
        self.path = None if path is None else Path(path)
        self.costs = Costs()
        self._dearest = 0.0
        self._lock = threading.Lock()
        if self.path is not None and self.path.exists():
            self._read_ledger(self.path)

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
        pages: list[SearchPage | SearchError] = []
        if self.budget is not None and not self._dearest and len(requests) > 1:
            pages += self._ask(requests[:1])
        return pages + self._ask(requests[len(pages) :])

    def close(self) -> None:
        """Close the engine, if it can be closed."""
        optional.close(self.engine)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _ask(self, requests: Sequence[SearchRequest]) -> list[SearchPage | SearchError]:
        if self.budget is not None:
            expected = self._dearest * len(requests)
            if self.spent + expected > self.budget or self.spent >= self.budget:
                raise BudgetExceeded(
                    f"${self.spent:.4f} of the budget of ${self.budget:.4f} are spent, and "
                    f"{len(requests)} searches may cost ${expected:.4f}; raise the budget and go on"
                )
        pages = list(self.engine.search(requests))
        with self._lock:
            self._account(requests, pages)
        return pages

    def _account(
        self, requests: Sequence[SearchRequest], pages: Sequence[SearchPage | SearchError]
    ) -> None:
        rows = []
        self.costs.batches += 1
        for request, page in zip(requests, pages, strict=False):
            self.costs.searches += 1
            if isinstance(page, SearchPage):
                self.costs.record(request, page)
                rows.append({**asdict(page.cost), "engine": page.engine})
                alone = Costs()
                alone.record(request, page)
                self._dearest = max(self._dearest, self.prices.of(alone))
            else:
                self.costs.faults += 1
        if self.path is None or not rows:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as ledger:
                ledger.write("".join(f"{json.dumps(row)}\n" for row in rows))
        except OSError as error:
            raise SearchError(f"the ledger {self.path} cannot be written: {error}") from error

    def _read_ledger(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                one = Costs(
                    searches=1,
                    **{name: row[name] for name in ("calls", "prompt_tokens", "completion_tokens")},
                    seconds=row["seconds"],
                    cached=bool(row["cached"]),
                )
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines) and not line.endswith("\n"):
                    continue  # the line that a killed process was writing
                raise ValueError(
                    f"{path}, line {number}: expected a ledger's row, got {line[:80]!r}; give the "
                    "ledger another path"
                ) from error
            self._dearest = max(self._dearest, self.prices.of(one))
            self.costs.add(one)
