"""A search engine over a passage file that controls the quality of its pages.

A retriever, such as BM25, ranks the passages by the query. A useful page has the best-ranked
passages that answer the question, a noisy page the best-ranked ones that do not. So a policy can be
trained with controlled noise on real text, without an LLM, and evaluated on the plain retriever.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from zs_env.metrics import contains_answer
from zs_env.questions.question import is_yes_no
from zs_env.search.engine import Answer, EngineWrapper, search_checked
from zs_env.search.types import Document, SearchError, SearchPage, SearchRequest
from zs_env.text.numbers import as_int
from zs_env.text.words import content_words

if TYPE_CHECKING:
    from zs_env.questions.question import QuestionDataset

# The check that the documents fail if a useful page was requested and none is useful.
NOT_RETRIEVED = "not_retrieved"
_VERSION = 1
_MAX_QUESTIONS = 10_000_000


class CorpusEngine(EngineWrapper):
    """Chooses from the best passages for the query by whether they answer the question.

    A passage is useful if it contains a gold answer as whole words, or belongs to a gold document
    of the question, by id or title; for a yes/no question only the latter. It has to share a
    content word with the query.

    A page with useful documents takes the best-ranked useful passages, then the best other ones; a
    page with noisy documents takes the best-ranked passages that are not useful. The documents are
    in the retriever's order, so that the rank of a document does not reveal its quality. No passage
    occurs twice on a page, so a page may be short. If useful documents were requested and the query
    retrieves no useful passage, the documents are noisy (`useful` is False) and fail the check
    "not_retrieved".

    The seed of a request has no effect.

    Args:
        retriever: an engine that ranks by the query only: BM25Engine, DenseEngine, HybridEngine.
        questions: questions with gold documents (`Question.gold_documents`), if there are any.
            Questions with the same text share them.
        depth: number of passages that the retriever returns for a query; the others are never
            shown.

    Raises:
        ValueError: if the retriever is not query-only, or `depth` is below 1.
    """

    name = "corpus"
    thread_safe = True

    def __init__(
        self, retriever: Any, questions: QuestionDataset | None = None, *, depth: int = 100
    ) -> None:
        super().__init__(retriever)
        if not self.query_only:
            raise ValueError(
                f"got the retriever {self.engines[0].name!r}, which is not query-only; expected an "
                "engine that ranks passages by the query, such as BM25Engine or DenseEngine"
            )
        self.query_only, self.supports_noise = False, True
        self._depth = as_int("CorpusEngine.depth", depth, low=1)
        self._gold: dict[str, frozenset[str]] = {}
        # A generated dataset has no gold documents, and may be unlimited.
        if questions is not None and len(questions) <= _MAX_QUESTIONS:
            for number in range(len(questions)):
                question = questions[number]
                if gold := frozenset(map(_key, question.gold_documents)):
                    self._gold[question.text] = self._gold.get(question.text, frozenset()) | gold

    @property
    def fingerprint(self) -> str | None:
        """Made of the retriever's fingerprint, the depth and all gold documents."""
        inner = self.inner_fingerprints()
        digest = blake2b(digest_size=16)
        for text, gold in self._gold.items():
            digest.update(repr((text, sorted(gold))).encode("utf-8", "replace"))
        gold_digest = digest.hexdigest()
        return None if inner is None else f"corpus-{_VERSION}:{self._depth}:{gold_digest}:{inner}"

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request, with one call of the retriever."""
        ranked = search_checked(
            self.engines[0],
            [replace(one, useful=(True,) * max(self._depth, len(one.useful))) for one in requests],
        )
        return [
            page if isinstance(page, SearchError) else self._page(request, page)
            for request, page in zip(requests, ranked, strict=True)
        ]

    def _page(self, request: SearchRequest, ranked: SearchPage) -> SearchPage:
        num_useful = sum(request.useful)
        num_noisy = len(request.useful) - num_useful
        useful: list[_Passage] = []
        others: list[_Passage] = []
        seen: set[tuple[str, str]] = set()
        gold = self._gold.get(request.question or "", frozenset())
        words = frozenset(content_words(request.query))
        answers = request.answers or ()
        if is_yes_no(answers):
            answers = ()
        for rank, document in enumerate(ranked.documents):
            if (document.title, document.text) in seen:
                continue
            seen.add((document.title, document.text))
            is_gold = bool(gold) and not gold.isdisjoint(_names(document))
            text = f"{document.title} {document.text}"
            if is_gold or contains_answer(text, answers):
                # BM25 finds only passages that share a word; other retrievers find any.
                if not words.isdisjoint(content_words(text)):
                    useful.append(_Passage(rank, document, is_gold))
            else:
                others.append(_Passage(rank, document, False))
            if len(useful) >= num_useful and len(others) >= num_noisy:
                break
        delivered = bool(useful)
        noisy, rest = others[:num_noisy], others[num_noisy:]
        shown = sorted([*useful, *rest][:num_useful])
        sources = {True: iter(shown), False: iter(noisy)}
        documents = []
        for flag in request.useful:
            passage = next(sources[flag], None)
            if passage is not None:
                documents.append(_document(passage, flag, delivered))
        return SearchPage(tuple(documents), ranked.cost, self.name)


class _Passage(NamedTuple):
    rank: int
    document: Document
    is_gold: bool


def _document(passage: _Passage, requested: bool, delivered: bool) -> Document:
    """Return a passage as a document that states its quality.

    Args:
        passage: the passage.
        requested: whether the request asks for a useful document in this place.
        delivered: whether the query retrieves a useful passage.
    """
    checks = passage.document.checks
    return replace(
        passage.document,
        useful=requested and delivered,
        checks=(*checks, NOT_RETRIEVED) if requested and not delivered else checks,
        metadata=(*passage.document.metadata, ("is_gold", passage.is_gold)),
    )


def _names(document: Document) -> Iterator[str]:
    """Yield the keys under which a question may name a document: its title and its passage id."""
    if document.title:
        yield _key(document.title)
    for name, value in document.metadata:
        if name == "passage_id":
            yield _key(str(value))


def _key(name: str) -> str:
    """Return the id or title of a document without differences of case, form and spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
