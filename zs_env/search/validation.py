"""The check of the pages that engines return."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from zs_env.search.types import (
    NOISE_KINDS,
    Document,
    SearchCost,
    SearchPage,
    SearchRequest,
)


def page_problem(page: Any) -> str | None:
    """Return what is wrong with a page of an engine; None for a valid page."""
    if _valid.get(id(page)) is page:
        return None
    if not isinstance(page, SearchPage):
        return f"wrong type: {type(page).__name__} in place of a SearchPage"
    cost = page.cost
    if not (isinstance(cost, SearchCost) and isinstance(page.engine, str)):
        return (
            "wrong type: expected a page with a SearchCost and the engine's name, got "
            f"{type(cost).__name__} and {type(page.engine).__name__}"
        )
    try:
        if not (
            0 <= cost.calls < math.inf
            and 0 <= cost.prompt_tokens < math.inf
            and 0 <= cost.completion_tokens < math.inf
            and 0 <= cost.seconds < math.inf
            and 0 <= cost.cached < math.inf
        ):
            return f"wrong cost: expected finite numbers that are not negative, got {cost}"
    except TypeError:
        return f"wrong type: expected numbers in a SearchCost, got {cost}"
    for document in page.documents:
        problem = _document_problem(document)
        if problem is not None:
            return problem
    if len(_valid) >= _MAX_VALID:
        _valid.clear()
    _valid[id(page)] = page
    return None


# Valid pages, by identity: every wrapper around an engine checks its pages.
_valid: dict[int, SearchPage] = {}
_MAX_VALID = 256


def _document_problem(document: Any) -> str | None:
    if not isinstance(document, Document):
        return f"wrong type: expected Document objects on a page, got {type(document).__name__}"
    if not (isinstance(document.title, str) and isinstance(document.text, str)):
        return (
            "wrong type: expected strings as title and text of a Document, got "
            f"{type(document.title).__name__} and {type(document.text).__name__}"
        )
    useful, checks, metadata = document.useful, document.checks, document.metadata
    if useful is not None and not isinstance(useful, bool):
        return f"wrong type: Document.useful is True, False or None, got {useful!r}"
    if document.noise_kind is not None and document.noise_kind not in NOISE_KINDS:
        return f"wrong value: Document.noise_kind is one of {NOISE_KINDS} or None, got " + repr(
            document.noise_kind
        )
    if not isinstance(document.engine, str):
        return f"wrong type: Document.engine is a string, got {type(document.engine).__name__}"
    if not isinstance(checks, tuple) or not all(isinstance(one, str) for one in checks):
        return f"wrong type: Document.checks is a tuple of strings, got {checks!r}"
    if not isinstance(metadata, tuple) or not all(map(_is_named, metadata)):
        return f"wrong type: Document.metadata is a tuple of (name, value), got {metadata!r}"
    return None


def _is_named(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)


def is_noisy_page(request: SearchRequest, page: SearchPage) -> bool:
    """Whether a page has a noisy document, or noise of the kind "empty" left one out."""
    return request.num_left_out > 0 or any(one.useful is False for one in page.documents)


def labelled(page: SearchPage, request: SearchRequest) -> SearchPage:
    """Label the documents without a label with the requested quality, which the engine honours."""
    for document in page.documents:
        if document.useful is None or (document.useful is False and document.noise_kind is None):
            break
    else:
        return page
    documents = tuple(
        _labelled(document, flag, request)
        for document, flag in zip(page.documents, request.expected, strict=False)
    )
    return replace(page, documents=documents + page.documents[len(documents) :])


def _labelled(document: Document, flag: bool, request: SearchRequest) -> Document:
    useful = flag if document.useful is None else document.useful
    shown = request.document
    kind = request.noise_kind if shown is None else shown.noise_kind or "irrelevant"
    delivered = None if useful else document.noise_kind or kind
    return replace(document, useful=useful, noise_kind=delivered)
