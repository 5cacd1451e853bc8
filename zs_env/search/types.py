"""What an episode asks of a search engine, and what it gets back.

A request travels whole: the query never leaves the question it was asked for, so no batch can
pair it with another row's.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol


class SearchError(RuntimeError):
    """An engine could not answer. It ends the episode as truncated; it is never an observation."""


class BudgetExceeded(RuntimeError):
    """Further searches would cost more than was allowed. It ends the run, not just an episode."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One query with all that an engine may use to answer it.

    Attributes:
        query: what the agent wrote.
        question: text of the question behind the query, None where nobody knows it.
        answers: gold answers of that question, None where nobody knows them.
        useful: one flag per document wanted; False asks for a noisy document.
        seed: 63-bit seed of the page's luck; equal requests of one episode get unequal seeds.
    """

    query: str
    question: str | None
    answers: tuple[str, ...] | None
    useful: tuple[bool, ...]
    seed: int

    def flipped(self) -> SearchRequest:
        """The same request, its luck included, for the opposite of every document."""
        return replace(self, useful=tuple(not flag for flag in self.useful))


@dataclass(frozen=True, slots=True)
class Document:
    """One search result. Only `text` is needed; the episode fills in the provenance.

    Attributes:
        text: at most `Limits.max_document_chars` characters once it is part of a transcript.
        title: shown before the text where there is one.
        useful: what was asked for, True useful and False noisy; None where nothing was asked.
        engine: name of the engine that gave it.
        rank: 0-based place on its page.
        contains_answer: whether a gold answer stands in it; None for yes/no questions, and where no
            answer is known.
        truncated: whether the text was cut to fit.
        checks: names of the quality checks that the document failed.
        metadata: further provenance, JSON values (passage id, score, ...).
    """

    text: str
    title: str = ""
    useful: bool | None = None
    engine: str = ""
    rank: int = 0
    contains_answer: bool | None = None
    truncated: bool = False
    checks: tuple[str, ...] = ()
    metadata: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class SearchCost:
    """What a page cost. Seconds are wall time of the call, shared by the pages of a batch."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cached: bool = False


@dataclass(frozen=True, slots=True)
class SearchPage:
    """The documents an engine returns for one request, best first, and what they cost."""

    documents: tuple[Document, ...]
    cost: SearchCost = field(default=SearchCost(), compare=False)
    engine: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "documents", tuple(self.documents))


class SearchEngine(Protocol):
    """Answers a batch of requests.

    An engine may also have `name` (str, shown as provenance), `fingerprint` (str, part of the
    cache key: all that changes its pages), `close()`, `local` (bool, True where it only computes:
    it is then called without a deadline, at no cost) and `by_query` (bool, True where query and
    number of documents alone decide the page: a cache then asks once, whoever asks), and
    `scheduled` (bool) with `at_step(step)`, where its pages depend on the training step.
    """

    def search(self, requests: Sequence[SearchRequest]) -> Sequence[SearchPage | SearchError]:
        """Return one page per request, in the same order.

        A SearchError in a page's place ends the episode of that request alone.

        Raises:
            SearchError: if the engine cannot answer any of them.
        """
        ...


def shared_pages(
    keys: Sequence[Hashable], pages: Mapping[Any, SearchPage | SearchError]
) -> list[SearchPage | SearchError]:
    """Return one page per key; what a page cost is said once, where its key comes first."""
    shared, paid = [], set[Hashable]()
    for key in keys:
        page = pages[key]
        if key in paid and isinstance(page, SearchPage):
            page = replace(page, cost=SearchCost())
        paid.add(key)
        shared.append(page)
    return shared
