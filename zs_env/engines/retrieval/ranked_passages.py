"""Pages of engines that rank passages by the query only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from zs_env.engines.retrieval.passage_file import Passage
from zs_env.search.engine import Answer, search_distinct
from zs_env.search.types import Document, SearchCost, SearchPage, SearchRequest

Rank = Callable[[str, int], Iterable[tuple[Passage, float]]]


def ranked_pages(requests: Sequence[SearchRequest], rank: Rank, engine: str) -> list[Answer]:
    """Return one page per request; each distinct query is ranked once.

    Args:
        requests: only the query and the number of documents matter.
        rank: maps both to the best passages with their scores, best first.
        engine: name of the engine.
    """

    def search(keys: list[tuple[str, int]]) -> list[SearchPage]:
        started = time.perf_counter()
        found = [tuple(_document(*ranked) for ranked in rank(*key)) for key in keys]
        cost = SearchCost(calls=1, seconds=(time.perf_counter() - started) / max(len(keys), 1))
        return [SearchPage(documents, cost, engine) for documents in found]

    return search_distinct([(one.query, len(one.useful)) for one in requests], search)


def _document(passage: Passage, score: float) -> Document:
    provenance = (("passage_id", passage.id), ("score", round(score, 4)))
    return Document(passage.text, passage.title, metadata=provenance)
