"""Requests to search engines, and the pages that they return.

A request holds the query together with its question, so no batch can pair the query with another
question.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from zs_env.text.suggestions import check_names

NOT_FINITE = "not_finite"
# irrelevant: documents that neither state nor contradict an answer.
# misleading: documents on the topic that state a wrong answer of the right type.
# conflicting: documents with true statements beside documents with false ones.
# injected: documents on the topic that give the reader instructions.
# empty: the noisy documents are left out.
NoiseKind = Literal["irrelevant", "misleading", "conflicting", "injected", "empty"]
NOISE_KINDS: tuple[NoiseKind, ...] = get_args(NoiseKind)


class SearchError(RuntimeError):
    """An engine could not answer. It truncates the episode and is not shown to the agent."""


class BudgetExceeded(RuntimeError):
    """More searches would exceed the budget. This ends the run, not only an episode."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One query, with everything that an engine may use to answer it.

    The request to open a document is the request of its search, with `document`.

    Attributes:
        query: text of the agent.
        question: text of the episode's question; None if unknown.
        answers: gold answers of the question; None if unknown.
        useful: one flag per requested document; False requests a noisy document.
        seed: 63-bit seed of the page. Repeated queries of an episode have different seeds.
        noise_kind: kind of the noisy documents; always "irrelevant" if no noisy one is requested,
            so that such requests are equal.
        document: the document of the page that is opened; None for a search.
        queries: the request of each query of a search with several; else (). `query` then has a
            line for each, and `useful` the flags of all. `search_checked` sends one request each.
    """

    query: str
    question: str | None
    answers: tuple[str, ...] | None
    useful: tuple[bool, ...]
    seed: int
    noise_kind: NoiseKind = "irrelevant"
    document: Document | None = None
    queries: tuple[SearchRequest, ...] = ()

    def __post_init__(self) -> None:
        if self.noise_kind != "irrelevant":
            check_names("noise kind", [self.noise_kind], NOISE_KINDS)
            if all(self.useful):
                object.__setattr__(self, "noise_kind", "irrelevant")

    @property
    def expected(self) -> tuple[bool, ...]:
        """The flags of the documents on a full page: `useful`, without noise of kind "empty"."""
        if self.document is not None:
            return (self.document.useful is not False,)
        if self.queries:
            return tuple(flag for one in self.queries for flag in one.expected)
        return self.useful if self.noise_kind != "empty" else (True,) * sum(self.useful)

    @property
    def num_left_out(self) -> int:
        """Number of noisy documents that a page leaves out because the noise is "empty"."""
        return 0 if self.document is not None else len(self.useful) - len(self.expected)

    def shared(self) -> SearchRequest:
        """Return the request without what has no effect on the page of a query-only engine."""
        shown = self.document
        if shown is not None:
            shown = replace(shown, contains_answer=None)
        flags = (True,) * len(self.useful)
        return SearchRequest(self.query, None, None, flags, 0, document=shown)

    def flipped(self) -> SearchRequest:
        """Return the same request, with the same seed, with the opposite of every flag."""
        queries = tuple(one.flipped() for one in self.queries)
        return replace(self, useful=tuple(not flag for flag in self.useful), queries=queries)


@dataclass(frozen=True, slots=True)
class Document:
    """One search result. Engines set at least `text`; the episode completes the provenance.

    Attributes:
        text: at most `Limits.max_document_chars` characters in a transcript.
        title: shown before the text if not empty.
        useful: whether the engine delivered a useful or a noisy document; None if the engine does
            not control it.
        engine: name of the engine that returned it.
        rank: 0-based position on its page.
        contains_answer: whether it contains a gold answer; None for yes/no questions and if no
            answer is known.
        truncated: whether the text was cut to the limit.
        checks: names of the quality checks that the document failed; NOT_FINITE if a number in its
            metadata, such as the score, was NaN or infinite. That number is None.
        metadata: further provenance, JSON values (passage id, score, ...).
        noise_kind: kind of noise that the engine delivered; None for a useful document, and if the
            engine does not control it. It differs from the requested kind if the engine had no
            such document.
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
    noise_kind: NoiseKind | None = None


# Not frozen: making a frozen dataclass takes five times as long, and searches add up many.
@dataclass(slots=True, kw_only=True)
class SearchCost:
    """What one page, or any number of searches, cost; the sum of two is taken field by field.

    An engine sets the fields from `calls` to `cached` of its pages. The others are counted by
    the client that calls the engine.

    Attributes:
        batches: calls of `SearchEngine.search`.
        searches: requests in these calls.
        calls: backend calls.
        prompt_tokens: read by a simulator.
        completion_tokens: written by a simulator.
        seconds: wall time; the pages of a batch share it.
        cached: pages from a cache.
        failures: requests without a page.
        short_pages: pages with fewer documents than requested. Documents that noise of the kind
            "empty" leaves out are not missing.
        long_pages: pages with more documents than requested.
    """

    batches: int = 0
    searches: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cached: int = 0
    failures: int = 0
    short_pages: int = 0
    long_pages: int = 0

    def __iadd__(self, other: SearchCost) -> SearchCost:
        """Add another cost in place."""
        self.batches += other.batches
        self.searches += other.searches
        self.calls += other.calls
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.seconds += other.seconds
        self.cached += other.cached
        self.failures += other.failures
        self.short_pages += other.short_pages
        self.long_pages += other.long_pages
        return self

    def __add__(self, other: SearchCost) -> SearchCost:
        """Return the sum of two costs."""
        total = replace(self)
        total += other
        return total


@dataclass(frozen=True, slots=True)
class SearchPage:
    """The documents an engine returns for one request, best first, and what they cost."""

    documents: tuple[Document, ...]
    cost: SearchCost = field(default_factory=SearchCost, compare=False)
    engine: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "documents", tuple(self.documents))
