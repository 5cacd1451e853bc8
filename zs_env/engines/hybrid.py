"""Several rankings of the same passages made into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zs_env.search import engine as optional
from zs_env.search.types import (
    Document,
    SearchCost,
    SearchEngine,
    SearchError,
    SearchPage,
    SearchRequest,
)

_RANK_OFFSET = 60  # the constant of the paper


class HybridEngine:
    """Asks several engines, such as BM25 and a dense one, and fuses their rankings.

    A document's score is the sum over engines of weight / (60 + rank), ranks counted from 1:
    reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009). Documents are the same where
    title and text are. Equal scores go to the document that an earlier engine ranks first.

    Args:
        engines: at least one, each of a kind that looks at nothing but the query.
        weights: one per engine, above 0; equal where None.
        depth: documents that each engine is asked for.

    Raises:
        ValueError: if engines and weights do not fit, or an engine looks at more than the query.
    """

    name = "hybrid"
    by_query = True

    def __init__(
        self,
        engines: Sequence[SearchEngine],
        weights: Sequence[float] | None = None,
        *,
        depth: int = 100,
    ) -> None:
        weights = [1.0] * len(engines) if weights is None else list(weights)
        if not engines or len(weights) != len(engines):
            raise ValueError(
                "a hybrid needs one weight for each of its engines (at least one), got "
                f"{len(engines)} engines and {len(weights)} weights"
            )
        if not 0 < min(weights) <= max(weights) < float("inf"):
            raise ValueError(f"weights are finite and above 0, got {weights}")
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        for number, engine in enumerate(engines):
            if not optional.sees_only_queries(engine):
                raise ValueError(
                    f"engine {number} of the hybrid ({type(engine).__name__}) looks at more than "
                    "the query; fuse rankings of real engines (BM25, dense, HTTP), and use a "
                    "mixture for others"
                )
        self._engines, self._weights, self._depth = list(engines), weights, depth

    @property
    def local(self) -> bool:
        """Whether all of the engines only compute."""
        return all(optional.is_local(engine) for engine in self._engines)

    @property
    def fingerprint(self) -> str:
        """Made of the engines' fingerprints, the weights and the depth."""
        parts = [*map(optional.fingerprint_of, self._engines)]
        return f"hybrid-1:{self._weights}:{self._depth}:{parts}"

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage | SearchError]:
        """Return one page per request; each engine is called once.

        Raises:
            SearchError: if an engine raises it or gives back a wrong number of pages.
        """
        deep = [
            replace(request, useful=(True,) * max(self._depth, len(request.useful)))
            for request in requests
        ]
        columns = [list(engine.search(deep)) for engine in self._engines]
        for number, column in enumerate(columns):
            if len(column) != len(requests):
                raise SearchError(
                    f"engine {number} of the hybrid gave {len(column)} pages for {len(requests)} "
                    "requests; an engine gives one page for each"
                )
        return [
            self._fuse(pages, len(request.useful))
            for request, *pages in zip(requests, *columns, strict=True)
        ]

    def close(self) -> None:
        """Close the engines that can be closed."""
        for engine in self._engines:
            optional.close(engine)

    def _fuse(
        self, pages: Sequence[SearchPage | SearchError], count: int
    ) -> SearchPage | SearchError:
        scores: dict[tuple[str, str], float] = {}
        documents: dict[tuple[str, str], Document] = {}
        costs: list[SearchCost] = []
        for page, weight in zip(pages, self._weights, strict=True):
            if isinstance(page, SearchError):
                return page
            costs.append(page.cost)
            for rank, document in enumerate(page.documents, 1):
                key = (document.title, document.text)
                scores[key] = scores.get(key, 0.0) + weight / (_RANK_OFFSET + rank)
                documents.setdefault(key, document)
        # The sort is stable, so that of equal scores the first one seen wins.
        best = sorted(scores, key=lambda key: -scores[key])[:count]
        cost = SearchCost(
            calls=sum(cost.calls for cost in costs), seconds=sum(cost.seconds for cost in costs)
        )
        return SearchPage(tuple(documents[key] for key in best), cost, self.name)
