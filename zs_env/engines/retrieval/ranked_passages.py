"""The base class of engines that rank the passages of a corpus by the query only."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import cached_property

from zs_env.engines.retrieval.passage_file import Passage
from zs_env.search.engine import Answer, SearchEngine, search_distinct
from zs_env.search.opening import is_shown_as, not_found
from zs_env.search.types import Document, SearchCost, SearchPage, SearchRequest

_MAX_JOINED = 1000  # passages on each side of an opened one


class PassageEngine(SearchEngine):
    """Returns the best passages of a corpus; each distinct query is ranked once.

    A passage is opened with the passages before and after it in the corpus that have the same
    title: together they are the document.
    """

    in_process = query_only = thread_safe = can_open = True
    _passages: Sequence[Passage]

    def rank(self, query: str, count: int) -> Iterable[tuple[Passage, float]]:
        """Return at most `count` passages with their scores, best first; they may be read late.

        Args:
            query: text of the agent.
            count: number of passages, at least 1. Scores are finite, and only their order matters.
        """
        raise NotImplementedError

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request, with at most the requested number of documents."""
        return search_distinct([(one.query, len(one.useful)) for one in requests], self._pages)

    def _pages(self, keys: list[tuple[str, int]]) -> list[SearchPage]:
        started = time.perf_counter()
        found = [tuple(passage_document(*ranked) for ranked in self.rank(*key)) for key in keys]
        cost = SearchCost(calls=1, seconds=(time.perf_counter() - started) / max(len(keys), 1))
        return [SearchPage(documents, cost, self.name) for documents in found]

    def open(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return the whole documents to which passages belong, found by their ids."""
        return [self._whole(request.document) for request in requests if request.document]

    def full_text(self, number: int) -> str:
        """Return the text of the document to which a passage belongs.

        Args:
            number: place of the passage in the corpus, from 0.
        """
        passages, title = self._passages, self._passages[number].title
        first = last = number
        if title:
            while first > max(0, number - _MAX_JOINED) and passages[first - 1].title == title:
                first -= 1
            end = min(len(passages), number + _MAX_JOINED) - 1
            while last < end and passages[last + 1].title == title:
                last += 1
        return "\n".join(passages[place].text for place in range(first, last + 1))

    def _whole(self, shown: Document) -> Answer:
        started = time.perf_counter()
        number = self._number(str(dict(shown.metadata).get("passage_id")))
        if number is None or not is_shown_as(passage_document(self._passages[number], 0.0), shown):
            return not_found(shown, self)
        passage = self._passages[number]
        whole = Document(
            self.full_text(number), passage.title, metadata=(("passage_id", passage.id),)
        )
        cost = SearchCost(calls=1, seconds=time.perf_counter() - started)
        return SearchPage((whole,), cost, self.name)

    def _number(self, passage_id: str) -> int | None:
        """Return the number of a passage in the corpus."""
        if passage_id.isdecimal():
            # Most corpora number their passages from 0 or 1, and need no table of all ids.
            for number in (int(passage_id), int(passage_id) - 1):
                if 0 <= number < len(self._passages) and self._passages[number].id == passage_id:
                    return number
        return self._numbers.get(passage_id)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {passage.id: number for number, passage in enumerate(self._passages)}


def passage_document(passage: Passage, score: float) -> Document:
    """Return a passage as a document; its id and score are in the metadata."""
    provenance = (("passage_id", passage.id), ("score", round(score, 4)))
    return Document(passage.text, passage.title, metadata=provenance)
