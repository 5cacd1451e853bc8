"""The base class of engines that rank the passages of a corpus by the query only."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from zs_env.engines.retrieval.passage_file import Passage
from zs_env.search.engine import Answer, SearchEngine, search_distinct
from zs_env.search.types import Document, SearchCost, SearchPage, SearchRequest


class PassageEngine(SearchEngine):
    """Returns the best passages of a corpus; each distinct query is ranked once."""

    in_process = query_only = thread_safe = True

    def rank(self, query: str, count: int) -> Iterable[tuple[Passage, float]]:
        """Return at most `count` passages with their scores, best first; they may be read late."""
        raise NotImplementedError

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request, with at most the requested number of documents."""
        return search_distinct([(one.query, len(one.useful)) for one in requests], self._pages)

    def _pages(self, keys: list[tuple[str, int]]) -> list[SearchPage]:
        started = time.perf_counter()
        found = [tuple(passage_document(*ranked) for ranked in self.rank(*key)) for key in keys]
        cost = SearchCost(calls=1, seconds=(time.perf_counter() - started) / max(len(keys), 1))
        return [SearchPage(documents, cost, self.name) for documents in found]


def passage_document(passage: Passage, score: float) -> Document:
    """Return a passage as a document; its id and score are in the metadata."""
    provenance = (("passage_id", passage.id), ("score", round(score, 4)))
    return Document(passage.text, passage.title, metadata=provenance)
