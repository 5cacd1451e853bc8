"""A search engine over the paragraphs of the questions: real text without an LLM.

A query finds a gold paragraph only if the two share a content word, so a query without meaning
finds no answer, even if a useful page was requested.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING

from zs_env.metrics import contains_answer
from zs_env.questions.question import Paragraph, Question
from zs_env.search.engine import Answer, SearchEngine, raise_single
from zs_env.search.types import (
    NOISE_KINDS,
    Document,
    NoiseKind,
    SearchCost,
    SearchError,
    SearchPage,
    SearchRequest,
)
from zs_env.text.injections import inject
from zs_env.text.words import content_words
from zs_env.text.wrong_answers import WrongAnswers, replace_answers

if TYPE_CHECKING:
    from zs_env.questions.question import QuestionDataset

# BM25's customary saturation and length normalisation.
_K1, _B = 1.2, 0.75
# An index of ten paragraphs takes about 100 kB.
_MAX_INDEXES = 2048
_MAX_QUESTIONS = 10_000_000


@dataclass(frozen=True, slots=True)
class _Candidate:
    paragraph: Paragraph
    frequencies: Counter[str]
    length: int
    has_answer: bool


@dataclass(frozen=True, slots=True)
class _ParagraphIndex:
    """The paragraphs of one question with their word counts."""

    candidates: tuple[_Candidate, ...]
    document_frequencies: Counter[str]
    mean_length: float
    answers: tuple[str, ...]
    is_yes_no: bool


class ParagraphEngine(SearchEngine):
    """Orders the paragraphs of the question by relevance to the query.

    For a useful document the engine returns a gold paragraph that shares a content word with the
    query, or else the best distractor. For a noisy document it returns the best distractor without
    a gold answer (for yes/no questions: the best distractor). No paragraph occurs twice on a page,
    so a page may be short.

    Other kinds of noise: a misleading page has the gold paragraphs that share a content word with
    the query, with every gold answer replaced by an answer to another question. A conflicting page
    has some of them beside the unchanged ones; with one noisy document it is misleading. In an
    injected page an instruction to give a wrong answer follows the text of each distractor. If this
    is impossible, as for a query that finds no gold paragraph, the documents are irrelevant. The
    seed of a request determines the wrong answer and has no other effect.

    Args:
        questions: questions with paragraphs. Questions with the same text share their paragraphs.
        min_distractors: a question with fewer distractors takes paragraphs of the next questions.

    Raises:
        ValueError: if no question has a paragraph, or there are too many questions, as in a
            generated dataset.
    """

    name = "paragraphs"
    supports_noise = in_process = thread_safe = True
    noise_kinds = NOISE_KINDS

    def __init__(self, questions: QuestionDataset, *, min_distractors: int = 5) -> None:
        if len(questions) > _MAX_QUESTIONS:
            raise ValueError(
                f"got {len(questions)} questions, expected at most {_MAX_QUESTIONS}: a generated "
                "dataset has no paragraphs; use its own engine"
            )
        self._min_distractors = min_distractors
        self._questions: list[Question] = []
        self._places: dict[str, list[int]] = {}
        for number in range(len(questions)):
            question = questions[number]
            if question.paragraphs:
                self._places.setdefault(question.text, []).append(len(self._questions))
                self._questions.append(question)
        if not self._questions:
            raise ValueError(
                f"none of the {len(questions)} questions has paragraphs; use questions with "
                "the field 'paragraphs', or another engine, such as BM25Engine"
            )
        self._indexes: dict[str, _ParagraphIndex] = {}

    @property
    def fingerprint(self) -> str:
        """Made of all questions, answers and paragraphs."""
        digest = blake2b(digest_size=16)
        for question in self._questions:
            parts = (question.text, question.answers, question.paragraphs)
            digest.update(repr(parts).encode("utf-8", "replace"))
        return f"paragraphs-3:{self._min_distractors}:{digest.hexdigest()}"

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request, with a SearchError for a question without paragraphs.

        Raises:
            SearchError: if there is only one request, and its question has no paragraphs.
        """
        return raise_single([self._page(request) for request in requests])

    def _page(self, request: SearchRequest) -> Answer:
        if request.question is None or request.question not in self._places:
            return SearchError(
                f"no paragraphs for the question {request.question!r}: the environment has "
                "questions that the engine does not have; pass the same questions to both"
            )
        index = self._index(request.question)
        scores = _scores(index, frozenset(content_words(request.query)))
        ranked = sorted(range(len(scores)), key=lambda place: -scores[place])
        found = [place for place in ranked if scores[place] > 0]
        documents = self._documents(request, index, ranked, found)
        return SearchPage(tuple(documents), SearchCost(calls=1), self.name)

    def _documents(
        self, request: SearchRequest, index: _ParagraphIndex, ranked: list[int], found: list[int]
    ) -> list[Document]:
        """Return the documents of a page; there may be too few.

        The documents of each quality are in the order of their scores, not gold before distractor,
        so that the rank of a document does not reveal that it is gold.

        Args:
            request: the request.
            index: the paragraphs of its question.
            ranked: all candidates, the best first.
            found: those that share a word with the query, the best first.
        """
        candidates, flags, kind = index.candidates, request.expected, request.noise_kind
        gold = [place for place in found if candidates[place].paragraph.is_gold]
        distractors = [place for place in ranked if not candidates[place].paragraph.is_gold]
        answer_free = [place for place in distractors if not candidates[place].has_answer]
        num_noisy = len(flags) - sum(flags)
        for_noisy = answer_free[:num_noisy]
        free = [place for place in distractors if place not in for_noisy]
        for_useful = [*gold, *free][: sum(flags)]
        noisy: list[tuple[int, Document]] = []
        if kind == "misleading" or (kind == "conflicting" and num_noisy == 1):
            noisy = self._false_documents(request, index, gold, "misleading")[:num_noisy]
        elif kind == "conflicting":
            noisy = self._false_documents(request, index, gold, kind)[: num_noisy // 2]
            # The contradicted paragraphs come first.
            true = dict.fromkeys([*(place for place, _ in noisy), *gold]) if noisy else ()
            true = [place for place in true if place not in for_useful]
            true = true[: num_noisy - num_noisy // 2]
            noisy += [(place, _document(candidates[place], useful=True)) for place in true]
        rest = for_noisy[: num_noisy - len(noisy)]
        noisy += [(place, _document(candidates[place], useful=False)) for place in rest]
        if kind == "injected":
            noisy = self._injected(request, index, noisy)
        if request.seed & 1:  # which one of a paragraph and its contradiction is first
            noisy.reverse()
        noisy.sort(key=lambda pair: ranked.index(pair[0]))
        for_useful.sort(key=ranked.index)
        useful = [_document(candidates[place], useful=True) for place in for_useful]
        sources = {True: iter(useful), False: iter([document for _, document in noisy])}
        documents = [next(sources[flag], None) for flag in flags]
        return [document for document in documents if document is not None]

    def _false_documents(
        self, request: SearchRequest, index: _ParagraphIndex, gold: list[int], kind: NoiseKind
    ) -> list[tuple[int, Document]]:
        """Return gold paragraphs with a wrong answer in place of every gold answer, and places."""
        wrong = None if index.is_yes_no else self._wrong_answers.pick(index.answers, request.seed)
        if wrong is None:
            return []
        found = []
        for place in gold:
            paragraph = index.candidates[place].paragraph
            parts = (paragraph.title, paragraph.text)
            title, text = (replace_answers(part, index.answers, wrong) or part for part in parts)
            if parts != (title, text) and not contains_answer(f"{title} {text}", index.answers):
                metadata = (("is_gold", False), ("wrong_answer", wrong))
                document = Document(text, title, False, metadata=metadata, noise_kind=kind)
                found.append((place, document))
        return found

    def _injected(
        self, request: SearchRequest, index: _ParagraphIndex, noisy: list[tuple[int, Document]]
    ) -> list[tuple[int, Document]]:
        """Return the documents with an instruction to give a wrong answer, where possible."""
        wrong = self._wrong_answers.pick(index.answers, request.seed)
        if wrong is None:
            return noisy
        golds = () if index.is_yes_no else index.answers
        injected = []
        for number, (place, document) in enumerate(noisy, request.seed >> 1):
            text = inject(document.text, wrong, number, golds)
            if text is not None:
                metadata = (*document.metadata, ("wrong_answer", wrong))
                document = replace(document, text=text, metadata=metadata, noise_kind="injected")
            injected.append((place, document))
        return injected

    @cached_property
    def _wrong_answers(self) -> WrongAnswers:
        return WrongAnswers([question.answers for question in self._questions])

    def _index(self, text: str) -> _ParagraphIndex:
        index = self._indexes.get(text)
        if index is None:
            if len(self._indexes) >= _MAX_INDEXES:
                self._indexes.clear()
            index = self._indexes[text] = self._make_index(text)
        return index

    def _make_index(self, text: str) -> _ParagraphIndex:
        places = self._places[text]
        answers = tuple(answer for place in places for answer in self._questions[place].answers)
        is_yes_no = all(self._questions[place].is_yes_no for place in places)
        paragraphs = dict.fromkeys(p for place in places for p in self._questions[place].paragraphs)
        candidates = [
            _candidate(paragraph, () if is_yes_no else answers)
            for paragraph in [*paragraphs, *self._extra_distractors(places, paragraphs)]
        ]
        return _ParagraphIndex(
            tuple(candidates),
            Counter(word for candidate in candidates for word in candidate.frequencies),
            sum(candidate.length for candidate in candidates) / len(candidates),
            answers,
            is_yes_no,
        )

    def _extra_distractors(self, places: list[int], own: dict[Paragraph, None]) -> list[Paragraph]:
        """Return paragraphs of later questions if the question has too few distractors."""
        missing = self._min_distractors - sum(not paragraph.is_gold for paragraph in own)
        extra: dict[tuple[str, str], Paragraph] = {}
        known = {(paragraph.title, paragraph.text) for paragraph in own}
        for step in range(1, len(self._questions)):
            if len(extra) >= missing:
                break
            place = (places[-1] + step) % len(self._questions)
            for paragraph in self._questions[place].paragraphs[:1]:
                key = (paragraph.title, paragraph.text)
                if key not in known:
                    extra[key] = Paragraph(title=key[0], text=key[1], is_gold=False)
        return list(extra.values())


def _candidate(paragraph: Paragraph, answers: tuple[str, ...]) -> _Candidate:
    words = content_words(f"{paragraph.title} {paragraph.text}")
    has_answer = contains_answer(f"{paragraph.title} {paragraph.text}", answers)
    return _Candidate(paragraph, Counter(words), len(words), has_answer)


def _scores(index: _ParagraphIndex, query_words: frozenset[str]) -> list[float]:
    """Return the BM25 score of each candidate; above 0 exactly if it shares a word."""
    total = len(index.candidates)
    frequencies = index.document_frequencies
    # Sorted, because a sum of floats depends on its order, and a set has no order.
    weights = [
        (word, math.log(1 + (total - frequencies[word] + 0.5) / (frequencies[word] + 0.5)))
        for word in sorted(query_words & frequencies.keys())
    ]
    return [
        sum(
            weight * count / (count + _K1 * (1 - _B + _B * candidate.length / index.mean_length))
            for word, weight in weights
            if (count := candidate.frequencies.get(word))
        )
        for candidate in index.candidates
    ]


def _document(candidate: _Candidate, *, useful: bool) -> Document:
    return Document(
        candidate.paragraph.text,
        candidate.paragraph.title,
        useful,
        metadata=(("is_gold", candidate.paragraph.is_gold),),
        noise_kind=None if useful else "irrelevant",
    )
