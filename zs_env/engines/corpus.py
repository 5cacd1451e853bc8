"""A search engine over a passage file that controls the quality of its pages.

A retriever, such as BM25, ranks the passages by the query. A useful page has the best-ranked
passages that answer the question, a noisy page the best-ranked ones that do not. So a policy can be
trained with controlled noise on real text, without an LLM, and evaluated on the plain retriever.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from zs_env.engines.page_composition import Ranked, RankedPassages, compose_page
from zs_env.engines.retrieval.ranked_passages import PassageEngine, passage_document
from zs_env.metrics import contains_answer
from zs_env.noise import NOISE_KINDS
from zs_env.questions.hidden_answers import hidden_answers, is_yes_no
from zs_env.questions.question import generates_questions
from zs_env.search.engine import Answer, EngineWrapper, as_search_error, search_checked
from zs_env.search.opening import open_by_search
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest
from zs_env.text.numbers import as_int
from zs_env.text.words import content_words
from zs_env.text.wrong_answers import WrongAnswers, mentions_answer

if TYPE_CHECKING:
    from zs_env.questions.question import QuestionDataset

# The check that the documents fail if a useful page was requested and none is useful.
NOT_RETRIEVED = "not_retrieved"
_VERSION = 4


class CorpusEngine(EngineWrapper):
    """Chooses from the best passages for the query by whether they answer the question.

    A passage is useful if it contains a gold answer as whole words, or belongs to a gold document
    of the question, by id or title. For a yes/no question, and for a comparison that has gold
    documents, only the latter counts. It has to share a content word with the query.

    Useful documents are the best-ranked useful passages, then the best other ones. Noisy documents
    are the best-ranked passages that are not useful, or of another kind, see
    `zs_env.engines.page_composition`. A passage that is not useful and mentions a gold answer in
    another form, such as "Paris's", is not shown. No passage occurs twice on a page, so a page may
    be short. If useful documents were requested and the query retrieves no useful passage, the
    documents in their places have `useful=False` and fail the check "not_retrieved".

    The seed of a request determines wrong answers and has no other effect.

    Args:
        retriever: an engine that ranks by the query only: BM25Engine, DenseEngine, HybridEngine.
        questions: the questions of the episodes, for their gold documents
            (`Question.gold_documents`) and, as wrong answers, the answers of other questions.
            Questions with the same text share their gold documents. None, or a generated dataset,
            gives no gold documents and only irrelevant and empty noise.
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
        self._answers: list[tuple[str, ...]] = []
        if questions is not None and not generates_questions(questions):
            for number in range(len(questions)):
                question = questions[number]
                self._answers.append(question.answers)
                if gold := frozenset(map(_key, question.gold_documents)):
                    self._gold[question.text] = self._gold.get(question.text, frozenset()) | gold
        self.noise_kinds = NOISE_KINDS if self._answers else ("irrelevant", "empty")

    @property
    def fingerprint(self) -> str | None:
        """Made of the retriever's fingerprint, the depth and what is known of the questions."""
        inner = self.inner_fingerprints()
        if inner is None:
            return None
        digest = blake2b(repr(self._answers).encode("utf-8", "replace"), digest_size=16)
        for text, gold in self._gold.items():
            digest.update(repr((text, sorted(gold))).encode("utf-8", "replace"))
        return f"corpus-{_VERSION}:{self._depth}:{digest.hexdigest()}:{inner}"

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request."""
        return [
            ranked if isinstance(ranked, SearchError) else self._page(request, *ranked)
            for request, ranked in zip(requests, self._ranked(requests), strict=True)
        ]

    def open(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return useful documents as the retriever does, and noisy passages in full.

        The document around a noisy passage may contain an answer, so it is not shown.
        """
        answers: list[Answer] = []
        for request in requests:
            shown = request.document
            if shown is not None and shown.useful:
                answers += search_checked(self.engines[0], [request])
            else:
                answers += open_by_search(self, [request])
        return answers

    def _ranked(
        self, requests: Sequence[SearchRequest]
    ) -> list[tuple[Iterable[Document], SearchCost] | SearchError]:
        """Return the best passages for each query, best first."""
        retriever = self.engines[0]
        depths = [max(self._depth, len(request.useful)) for request in requests]
        if isinstance(retriever, PassageEngine) and retriever.thread_safe:
            # Passages are read only as far as the page needs them.
            return [
                (_read(retriever, request.query, depth), SearchCost(calls=1))
                for request, depth in zip(requests, depths, strict=True)
            ]
        deep = [
            replace(request, useful=(True,) * depth)
            for request, depth in zip(requests, depths, strict=True)
        ]
        return [
            page if isinstance(page, SearchError) else (page.documents, page.cost)
            for page in search_checked(retriever, deep)
        ]

    def _page(self, request: SearchRequest, ranked: Iterable[Document], cost: SearchCost) -> Answer:
        """Return the page of a request from the passages that its query retrieves."""
        try:
            useful, others = self._by_quality(request, ranked)
        except Exception as error:
            return as_search_error(error)
        documents = compose_page(
            request,
            RankedPassages(
                useful=useful,
                noisy=others,
                fillers=others,
                gold_titles=self._gold.get(request.question or "", ()),
            ),
            request.answers or (),
            lambda: self._wrong_answers,
        )
        if not useful and any(request.useful):
            documents = [
                _not_retrieved(document) if document.useful else document for document in documents
            ]
        return SearchPage(tuple(documents), cost, self.name)

    def _by_quality(
        self, request: SearchRequest, documents: Iterable[Document]
    ) -> tuple[list[Ranked], list[Ranked]]:
        """Return the useful and the other passages, as many as the page may need."""
        num_noisy = len(request.useful) - sum(request.useful)
        # A misleading or conflicting document is made of a useful passage.
        num_useful = sum(request.useful)
        if request.noise_kind in ("misleading", "conflicting"):
            num_useful += num_noisy
        gold = self._gold.get(request.question or "", frozenset())
        words = frozenset(content_words(request.query))
        answers = request.answers or ()
        if gold or is_yes_no(answers):
            answers = hidden_answers(request.question, answers)
        useful: list[Ranked] = []
        others: list[Ranked] = []
        seen: set[tuple[str, str]] = set()
        for rank, document in enumerate(documents):
            key = (document.title, document.text)
            if key in seen:
                continue
            seen.add(key)
            is_gold = bool(gold) and not gold.isdisjoint(_names(document))
            text = f"{document.title} {document.text}"
            if is_gold or contains_answer(text, answers):
                # BM25 finds only passages that share a word; other retrievers find any.
                if not words.isdisjoint(content_words(text)):
                    metadata = (*document.metadata, ("is_gold", is_gold))
                    useful.append((rank, replace(document, metadata=metadata)))
            # A page needs no more of the others, so few texts are searched for a mention.
            elif len(others) < len(request.useful) and not mentions_answer(text, answers):
                others.append((rank, document))
            if len(useful) >= num_useful and len(others) >= num_noisy:
                break
        return useful, others

    @cached_property
    def _wrong_answers(self) -> WrongAnswers:
        return WrongAnswers(self._answers)


def _read(retriever: PassageEngine, query: str, depth: int) -> Iterator[Document]:
    """Yield the passages of a query; an error of the ranking is raised by the first one."""
    for passage, score in retriever.rank(query, depth):
        yield passage_document(passage, score)


def _not_retrieved(document: Document) -> Document:
    checks = (*document.checks, NOT_RETRIEVED)
    return replace(document, useful=False, noise_kind="irrelevant", checks=checks)


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
