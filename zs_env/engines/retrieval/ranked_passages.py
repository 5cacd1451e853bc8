"""Pages of engines that rank passages by the query alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from zs_env.engines.retrieval.passage_file import Passage
from zs_env.search.types import Document, SearchCost, SearchPage, SearchRequest

Rank = Callable[[str, int], Iterable[tuple[Passage, float]]]


def ranked_pages(requests: Sequence[SearchRequest], rank: Rank, engine: str) -> list[SearchPage]:
    """Return one page per request; a query that is asked for twice is ranked once.

    Args:
        requests: of which only the query and the number of documents count.
        rank: from these to the best passages with their scores, best first.
        engine: name of the engine.
    """
    started = time.perf_counter()
    found: dict[tuple[str, int], tuple[Document, ...]] = {}
    for request in requests:
        asked = (request.query, len(request.useful))
        if asked not in found:
            found[asked] = tuple(_document(*ranked) for ranked in rank(*asked))
    cost = SearchCost(calls=1, seconds=(time.perf_counter() - started) / max(len(requests), 1))
    return [
        SearchPage(found[request.query, len(request.useful)], cost, engine) for request in requests
    ]


def _document(passage: Passage, score: float) -> Document:
    provenance = (("passage_id", passage.id), ("score", round(score, 4)))
    return Document(passage.text, passage.title, metadata=provenance)
