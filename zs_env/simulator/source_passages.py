"""The passages from which a grounded simulator writes its documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zs_env.metrics import contains_answer
from zs_env.questions.question import is_yes_no
from zs_env.search.engine import Answer, SearchEngine, search_checked
from zs_env.search.types import Document, SearchError, SearchPage, SearchRequest

_DEPTH = 20  # passages retrieved from an engine without noise, at least


def find_sources(engine: SearchEngine, requests: Sequence[SearchRequest]) -> list[Answer]:
    """Return for each request a page with the source passage of each document to write.

    An engine that supports noise gets the requests as they are, and each of its documents is a
    source of the quality that the engine delivered. From any other engine, at least 20 passages
    are retrieved. Sources of noisy documents are the best of them that contain no gold answer.
    Sources of useful documents are those that contain one, then the best others. If the answers
    are unknown, or are yes or no, noisy sources are passages behind the first page.

    Returns:
        Pages whose documents have the label `useful`, at most one per requested document, with
        the engine's cost; a SearchError in the place of a page that could not be retrieved.
    """
    if engine.supports_noise:
        pages = search_checked(engine, requests)
    else:
        deep = [replace(one, useful=(True,) * max(_DEPTH, 2 * len(one.useful))) for one in requests]
        pages = [
            page if isinstance(page, SearchError) else _divided(page, request)
            for page, request in zip(search_checked(engine, deep), requests, strict=True)
        ]
    return [
        page
        if isinstance(page, SearchError)
        else replace(page, documents=page.documents[: len(request.expected)])
        for page, request in zip(pages, requests, strict=True)
    ]


def passage_text(passage: Document) -> str:
    """Return title and text of a passage."""
    return f"{passage.title}: {passage.text}" if passage.title else passage.text


def _divided(page: SearchPage, request: SearchRequest) -> SearchPage:
    """Choose a passage for each requested document; there may be too few."""
    ranks = range(len(page.documents))
    num_useful = sum(request.expected)
    if request.answers and not is_yes_no(request.answers):
        answers = request.answers
        texts = map(passage_text, page.documents)
        with_answer = [rank for rank, text in enumerate(texts) if contains_answer(text, answers)]
    else:
        with_answer = list(ranks[: len(request.expected)])
    others = [rank for rank in ranks if rank not in with_answer]
    noisy = others[: len(request.expected) - num_useful]
    free = [rank for rank in others if rank not in noisy]
    # In the order of the ranking, so that a document's place does not reveal the answer.
    rest_useful = iter(sorted([*with_answer, *free][:num_useful]))
    rest_noisy = iter(noisy)
    chosen = ((next(rest_useful if flag else rest_noisy, None), flag) for flag in request.expected)
    return replace(
        page,
        documents=tuple(
            replace(page.documents[rank], useful=flag) for rank, flag in chosen if rank is not None
        ),
    )
