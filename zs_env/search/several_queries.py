"""A search with several queries: one request for each, and one page with a section for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest

_QUERY = "query"  # in the metadata of a document: the query that found it


def join_requests(requests: Sequence[SearchRequest]) -> SearchRequest:
    """Return the request of a search from those of its queries."""
    if len(requests) == 1:
        return requests[0]
    return replace(
        requests[0],
        query="\n".join(one.query for one in requests),
        useful=tuple(flag for one in requests for flag in one.useful),
        noise_kind="irrelevant",
        queries=tuple(requests),
    )


def single_requests(requests: Iterable[SearchRequest]) -> list[SearchRequest]:
    """Return requests with one query each."""
    return [single for one in requests for single in one.queries or (one,)]


def join_pages(
    requests: Sequence[SearchRequest], answers: Sequence[SearchPage | SearchError]
) -> list[SearchPage | SearchError]:
    """Return one answer per request from those of `single_requests`.

    The documents of a page have their query in the metadata. An error of one query is that of its
    search.
    """
    rest = iter(answers)
    joined: list[SearchPage | SearchError] = []
    for request in requests:
        found = [next(rest) for _ in request.queries or (request,)]
        errors = [one for one in found if isinstance(one, SearchError)]
        if not request.queries or errors:
            joined.append(errors[0] if errors else found[0])
            continue
        cost, documents = SearchCost(), list[Document]()
        for single, page in zip(request.queries, found, strict=True):
            assert isinstance(page, SearchPage)
            cost += page.cost
            for document in page.documents[: len(single.expected)]:
                metadata = (*document.metadata, (_QUERY, single.query))
                engine = document.engine or page.engine
                documents.append(replace(document, engine=engine, metadata=metadata))
        joined.append(SearchPage(tuple(documents), cost))
    return joined


def sections(
    request: SearchRequest, documents: Sequence[Document]
) -> list[tuple[str, list[Document]]]:
    """Return the queries of a search with several, each with its documents on the page."""
    return [
        (single.query, [one for one in documents if dict(one.metadata).get(_QUERY) == single.query])
        for single in request.queries
    ]


def request_of(
    request: SearchRequest, documents: Sequence[Document], number: int
) -> tuple[SearchRequest, Document]:
    """Return the request that found document `number`, from 1, and the document with its rank."""
    document = documents[number - 1]
    for single, (_, found) in zip(request.queries, sections(request, documents), strict=True):
        if document in found:
            return single, replace(document, rank=found.index(document))
    return request, document
