"""Sanitizes, truncates and annotates retrieved documents before they enter a transcript.

An engine with fixed pages returns the same page for many questions, so everything that does not
depend on the question is done once per page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, NamedTuple

from zs_env.metrics import contains_answer, contains_padded, gold_patterns, padded
from zs_env.prompts import render_document, render_opened, render_page
from zs_env.questions.hidden_answers import is_yes_no
from zs_env.search.types import NOT_FINITE, Document, SearchPage
from zs_env.search.validation import page_problem
from zs_env.text.sanitize import sanitize, sanitize_open


class PostprocessedPage(NamedTuple):
    """A page as it enters a transcript.

    Attributes:
        documents: the documents with complete provenance.
        texts: each document as the agent reads it.
        message: the page as the agent reads it.
    """

    documents: tuple[Document, ...]
    texts: tuple[str, ...]
    message: str


def postprocess_page(
    page: SearchPage, count: int, answers: tuple[str, ...], max_chars: int
) -> PostprocessedPage:
    """Prepare a page for a transcript.

    Args:
        page: as the engine returned it; documents beyond the requested number are dropped.
        count: number of requested documents.
        answers: gold answers, which set `contains_answer`; not for yes/no questions.
        max_chars: longer documents are cut and marked as truncated.

    Raises:
        TypeError: if the page, a document or a text has the wrong type.
    """
    if not isinstance(page, SearchPage):
        raise TypeError(f"expected a SearchPage from the engine, got {type(page).__name__}")
    key = (id(page.documents), count, page.engine, max_chars)
    known = _pages.get(key)
    if known is None:
        problem = page_problem(page)
        if problem is not None:
            raise TypeError(problem)
        documents = tuple(
            _sanitize_document(document, rank, page.engine, max_chars)
            for rank, document in enumerate(page.documents[:count])
        )
        texts = tuple(map(render_document, documents))
        known = _SanitizedPage(
            page.documents,
            PostprocessedPage(documents, texts, render_page(documents)),
            tuple([padded(f"{one.title} {one.text}") for one in documents]),
        )
        # Long web pages are not kept in memory.
        if all(len(one.title) + len(one.text) <= max_chars for one in page.documents):
            if len(_pages) >= _MAX_PAGES:
                _pages.clear()
            _pages[key] = known
    annotated = known.by_answers.get(answers)
    if annotated is None:
        if len(known.by_answers) >= _MAX_ANNOTATED:
            known.by_answers.clear()
        annotated = known.by_answers[answers] = _annotate(known, answers)
    return annotated


def without_open_tags(page: SearchPage) -> SearchPage:
    """Break the tags of the tool "open" in the documents of a page."""
    if not any("open" in f"{one.title}{one.text}".lower() for one in page.documents):
        return page
    documents = [
        replace(one, title=sanitize_open(one.title), text=sanitize_open(one.text))
        for one in page.documents
    ]
    return replace(page, documents=tuple(documents))


def postprocess_opened(
    page: SearchPage, number: int, part: int, answers: tuple[str, ...], max_chars: int
) -> PostprocessedPage | None:
    """Prepare a part of an opened document for a transcript, see `postprocess_page`.

    Args:
        page: a page with the whole document only.
        number: of the document on the page of its search, from 1.
        part: from 1.
        answers: gold answers.
        max_chars: maximum length of a part.

    Returns:
        The part with its place in the metadata; None if the document has fewer parts.
    """
    parts = split_document(page.documents[0], max_chars)
    if part > len(parts):
        return None
    page = replace(page, documents=(parts[part - 1],))
    (document,), texts, _ = postprocess_page(page, 1, answers, max_chars)
    metadata = (*document.metadata, ("part", part), ("num_parts", len(parts)))
    document = replace(document, rank=number - 1, metadata=metadata)
    return PostprocessedPage((document,), texts, render_opened(number, texts[0], part, len(parts)))


def split_document(document: Document, max_chars: int) -> list[Document]:
    """Split a document into parts of at most `max_chars` characters, each with its title.

    The text is split at the ends of sentences, or else of words, where possible. An empty document
    has one part.
    """
    title, text = document.title[: max_chars // 2], document.text.strip()
    room, parts = max_chars - len(title), list[str]()
    while len(text) > room:
        cut = max(text.rfind(". ", 0, room + 1), text.rfind("\n", 0, room)) + 1
        if cut < room // 4:
            cut = text.rfind(" ", 0, room + 1)
        cut = cut if cut > 0 else room
        parts.append(text[:cut])
        text = text[cut:].lstrip()
    parts.append(text)
    return [replace(document, title=title, text=part) for part in parts]


@dataclass(slots=True, eq=False)
class _SanitizedPage:
    """A page without the labels `contains_answer`, and its annotated copies."""

    source: tuple[Document, ...]  # the key has its identity, so it must stay alive
    page: PostprocessedPage
    words: tuple[str, ...]  # title and text of each document, normalized
    by_answers: dict[tuple[str, ...], PostprocessedPage] = field(default_factory=dict)
    by_labels: dict[tuple[bool | None, ...], PostprocessedPage] = field(default_factory=dict)


def _annotate(known: _SanitizedPage, answers: tuple[str, ...]) -> PostprocessedPage:
    """Return the page with the labels of a question with these gold answers."""
    labels: tuple[bool | None, ...] = (None,) * len(known.words)
    if not is_yes_no(answers):
        golds = gold_patterns(answers)
        labels = tuple([contains_padded(words, golds) for words in known.words])
        if golds.bare and not all(labels):
            labels = tuple(
                [
                    contains_answer(f"{one.title} {one.text}", answers)
                    for one in known.page.documents
                ]
            )
    page = known.by_labels.get(labels)
    if page is None:
        labelled = zip(known.page.documents, labels, strict=True)
        page = known.page._replace(
            documents=tuple(replace(one, contains_answer=label) for one, label in labelled)
        )
        if len(known.by_labels) < _MAX_ANNOTATED:
            known.by_labels[labels] = page
    return page


# Keyed by the identity of the documents, because hashing them is slow.
_pages: dict[tuple[int, int, str, int], _SanitizedPage] = {}
_MAX_PAGES, _MAX_ANNOTATED = 2048, 8


def _sanitize_document(document: Document, rank: int, engine: str, max_chars: int) -> Document:
    """Sanitize and cut a document, and complete its provenance."""
    title = sanitize(document.title[:max_chars])
    room = max_chars - len(title)
    metadata, checks = document.metadata, document.checks
    if not all(map(_is_plain, metadata)):
        metadata = tuple((name, _plain(value)) for name, value in metadata)
        pairs = zip(document.metadata, metadata, strict=True)
        if any(new is None and old is not None for (_, old), (_, new) in pairs):
            checks = (*checks, NOT_FINITE)
    # By position: `replace` takes three times as long, and this runs for every new document.
    return Document(
        sanitize(document.text[:room]),
        title,
        document.useful,
        document.engine or engine,
        rank,
        None,
        len(document.title) + len(document.text) > max_chars,
        checks,
        metadata,
        document.noise_kind,
    )


_PLAIN = (str, int, bool, type(None))


def _is_plain(item: tuple[str, object]) -> bool:
    kind = type(item[1])
    return kind in _PLAIN or (kind is float and isfinite(item[1]))  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    """Return a JSON value: numbers of NumPy as those of Python, None for NaN and infinity."""
    if not isinstance(value, str) and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, float):
        return float(value) if isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value
