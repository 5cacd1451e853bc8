"""The passages from which a grounded simulator writes its documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zs_env.metrics import contains_answer
from zs_env.questions.hidden_answers import hidden_answers
from zs_env.search.engine import Answer, SearchEngine, search_checked
from zs_env.search.types import Document, SearchPage, SearchRequest
from zs_env.text.wrong_answers import mentions_answer

_DEPTH = 20  # passages retrieved from an engine without noise, at least


def find_sources(engine: SearchEngine, requests: Sequence[SearchRequest]) -> list[Answer]:
    """Return for each request a page with the source passage of each document to write.

    An engine that supports noise gets the requests as they are, except for noise of the kind
    "injected", and each of its documents is a source of the quality and the kind of noise that the
    engine delivered. From any other engine, at least 20 passages are retrieved. Sources of noisy
    documents are the best of them that mention no gold answer. Sources of useful documents are
    those that contain one, then the best that mention none. If the answers are unknown, or are yes
    or no, noisy sources are passages behind the first page.

    Returns:
        Pages whose documents have the label `useful`, at most one per requested document, with
        the engine's cost; a SearchError in the place of a page that could not be retrieved.
    """
    places = [place for place, request in enumerate(requests) if request.expected]
    asked = [_asked(requests[place], engine) for place in places]
    found = dict(zip(places, search_checked(engine, asked) if asked else [], strict=True))
    pages: list[Answer] = []
    for place, request in enumerate(requests):
        page = found.get(place, SearchPage(()))
        if isinstance(page, SearchPage):
            if not engine.supports_noise:
                page = _divided(page, request)
            page = replace(page, documents=page.documents[: len(request.expected)])
        pages.append(page)
    return pages


def _asked(request: SearchRequest, engine: SearchEngine) -> SearchRequest:
    """Return the request to the engine of the sources."""
    flags, kind = request.expected, request.noise_kind
    if not engine.supports_noise:
        return replace(request, useful=(True,) * max(_DEPTH, 2 * len(flags)))
    # A model that rewrites a document with an instruction may follow it.
    if kind in ("injected", "empty") or kind not in engine.noise_kinds:
        kind = "irrelevant"
    return replace(request, useful=flags, noise_kind=kind)


def passage_text(passage: Document) -> str:
    """Return title and text of a passage."""
    return f"{passage.title}: {passage.text}" if passage.title else passage.text


def _divided(page: SearchPage, request: SearchRequest) -> SearchPage:
    """Choose a passage for each requested document; there may be too few."""
    flags, answers = request.expected, hidden_answers(request.question, request.answers)
    ranks = list(range(len(page.documents)))
    with_answer = list(ranks[: len(flags)])
    if answers:
        texts = list(map(passage_text, page.documents))
        with_answer = [rank for rank in ranks if contains_answer(texts[rank], answers)]
        ranks = [rank for rank in ranks if not mentions_answer(texts[rank], answers)]
    others = [rank for rank in ranks if rank not in with_answer]
    noisy = others[: len(flags) - sum(flags)]
    free = [rank for rank in others if rank not in noisy]
    # In the order of the ranking, so that a document's place does not reveal the answer.
    rest_useful = iter(sorted([*with_answer, *free][: sum(flags)]))
    rest_noisy = iter(noisy)
    chosen = ((next(rest_useful if flag else rest_noisy, None), flag) for flag in flags)
    return replace(
        page,
        documents=tuple(
            replace(page.documents[rank], useful=flag) for rank, flag in chosen if rank is not None
        ),
    )
