"""Fuses the rankings of several engines over the same passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zs_env.search.engine import Answer, EngineWrapper, search_checked
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest

_RANK_OFFSET = 60  # the constant of the paper


class HybridEngine(EngineWrapper):
    """Fuses the rankings of several engines, such as BM25 and a dense one.

    A document's score is the sum over engines of weight / (60 + rank), ranks counted from 1:
    reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009). Documents with the same title
    and text are one document. Of equal scores, the document that an earlier engine ranks wins.

    Args:
        engines: at least one; all must be query-only.
        weights: one per engine, above 0; None for equal weights.
        depth: documents requested from each engine.

    Raises:
        ValueError: if engines and weights do not fit, or an engine is not query-only.
    """

    name = "hybrid"
    thread_safe = True

    def __init__(
        self,
        engines: Sequence[Any],
        weights: Sequence[float] | None = None,
        *,
        depth: int = 100,
    ) -> None:
        super().__init__(*engines)
        self.supports_noise = False
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
        for number, engine in enumerate(self.engines):
            if not engine.query_only:
                raise ValueError(
                    f"engine {number} of the hybrid ({type(engines[number]).__name__}) is not "
                    "query-only; fuse rankings of real engines (BM25, dense, HTTP), and use a "
                    "mixture for other engines"
                )
        self._weights, self._depth = weights, depth

    @property
    def fingerprint(self) -> str | None:
        """Made of the engines' fingerprints, the weights and the depth."""
        inner = self.inner_fingerprints()
        return None if inner is None else f"hybrid-1:{self._weights}:{self._depth}:{inner}"

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request, with one call of each engine."""
        deep = [
            replace(request, useful=(True,) * max(self._depth, len(request.useful)))
            for request in requests
        ]
        columns = [search_checked(engine, deep) for engine in self.engines]
        return [
            self._fuse(pages, len(request.useful))
            for request, *pages in zip(requests, *columns, strict=True)
        ]

    def open(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return each document from the first engine that has it."""
        answers = search_checked(self.engines[0], requests)
        for engine in self.engines[1:]:
            failed = [place for place, one in enumerate(answers) if isinstance(one, SearchError)]
            if failed:
                found = search_checked(engine, [requests[place] for place in failed])
                for place, answer in zip(failed, found, strict=True):
                    answers[place] = answer
        return answers

    def _fuse(self, pages: Sequence[Answer], count: int) -> Answer:
        scores: dict[tuple[str, str], float] = {}
        documents: dict[tuple[str, str], Document] = {}
        cost = SearchCost()
        for page, weight in zip(pages, self._weights, strict=True):
            if isinstance(page, SearchError):
                return page
            cost += page.cost
            for rank, document in enumerate(page.documents, 1):
                key = (document.title, document.text)
                scores[key] = scores.get(key, 0.0) + weight / (_RANK_OFFSET + rank)
                documents.setdefault(key, document)
        cost.cached //= len(pages)  # cached only if every page is
        # The sort is stable: of equal scores, the first document wins.
        best = sorted(scores, key=lambda key: -scores[key])[:count]
        return SearchPage(tuple(documents[key] for key in best), cost, self.name)
