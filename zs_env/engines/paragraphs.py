"""A search engine over the paragraphs of the questions: real text without an LLM.

A query finds a gold paragraph only if the two share a content word, so a query without meaning
finds no answer, even if a useful page was requested.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING

from zs_env.engines.page_composition import RankedPassages, compose_page
from zs_env.questions.hidden_answers import hidden_answers
from zs_env.questions.question import Paragraph, Question
from zs_env.search.engine import Answer, SearchEngine, raise_single
from zs_env.search.opening import open_by_search
from zs_env.search.types import (
    NOISE_KINDS,
    Document,
    SearchCost,
    SearchError,
    SearchPage,
    SearchRequest,
)
from zs_env.text.words import content_words
from zs_env.text.wrong_answers import WrongAnswers, mentions_answer

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
    gold_titles: frozenset[str]


class ParagraphEngine(SearchEngine):
    """Orders the paragraphs of the question by relevance to the query.

    For a useful document the engine returns a gold paragraph that shares a content word with the
    query, or else the best distractor. For a noisy document it returns the best distractor that
    mentions no gold answer; for yes/no questions and comparisons, the best distractor. No paragraph
    occurs twice on a page, so a page may be short. For other kinds of noise see
    `zs_env.engines.page_composition`. The seed of a request determines wrong answers and has no
    other effect.

    Args:
        questions: questions with paragraphs. Questions with the same text share their paragraphs.
        min_distractors: a question with fewer distractors that mention no gold answer takes
            paragraphs of the next questions.

    Raises:
        ValueError: if no question has a paragraph, or there are too many questions, as in a
            generated dataset.
    """

    name = "paragraphs"
    supports_noise = in_process = thread_safe = can_open = True
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
        return f"paragraphs-6:{self._min_distractors}:{digest.hexdigest()}"

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request, with a SearchError for a question without paragraphs.

        Raises:
            SearchError: if there is only one request, and its question has no paragraphs.
        """
        return raise_single([self._page(request) for request in requests])

    def open(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return whole paragraphs; a noisy one is that of its page."""
        return open_by_search(self, requests)

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

        Args:
            request: the request.
            index: the paragraphs of its question.
            ranked: all candidates, the best first.
            found: those that share a word with the query, the best first.
        """
        candidates = index.candidates
        documents = [(rank, _document(candidates[place])) for rank, place in enumerate(ranked)]
        is_gold = [candidates[place].paragraph.is_gold for place in ranked]
        distractors = [one for one, gold in zip(documents, is_gold, strict=True) if not gold]
        passages = RankedPassages(
            # `found` are the first of `ranked`.
            useful=[documents[rank] for rank in range(len(found)) if is_gold[rank]],
            noisy=[one for one in distractors if not candidates[ranked[one[0]]].has_answer],
            fillers=distractors,
            gold_titles=index.gold_titles,
        )
        return compose_page(request, passages, index.answers, lambda: self._wrong_answers)

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
        paragraphs = dict.fromkeys(p for place in places for p in self._questions[place].paragraphs)
        golds = hidden_answers(text, answers)
        candidates = [_candidate(paragraph, golds) for paragraph in paragraphs]
        candidates += self._extra_distractors(places, candidates, golds)
        return _ParagraphIndex(
            tuple(candidates),
            Counter(word for candidate in candidates for word in candidate.frequencies),
            sum(candidate.length for candidate in candidates) / len(candidates),
            answers,
            frozenset(paragraph.title for paragraph in paragraphs if paragraph.is_gold),
        )

    def _extra_distractors(
        self, places: list[int], own: list[_Candidate], answers: tuple[str, ...]
    ) -> list[_Candidate]:
        """Return paragraphs of later questions if the question has too few distractors."""
        missing = self._min_distractors - sum(
            not (one.paragraph.is_gold or one.has_answer) for one in own
        )
        extra: list[_Candidate] = []
        known = {(one.paragraph.title, one.paragraph.text) for one in own}
        for step in range(1, len(self._questions)):
            if len(extra) >= missing:
                break
            place = (places[-1] + step) % len(self._questions)
            for paragraph in self._questions[place].paragraphs[:1]:
                key = (paragraph.title, paragraph.text)
                if key not in known:
                    known.add(key)
                    distractor = Paragraph(title=key[0], text=key[1], is_gold=False)
                    candidate = _candidate(distractor, answers)
                    extra += [candidate] * (not candidate.has_answer)
        return extra


def _candidate(paragraph: Paragraph, answers: tuple[str, ...]) -> _Candidate:
    words = content_words(f"{paragraph.title} {paragraph.text}")
    has_answer = mentions_answer(f"{paragraph.title} {paragraph.text}", answers)
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


def _document(candidate: _Candidate) -> Document:
    paragraph = candidate.paragraph
    return Document(paragraph.text, paragraph.title, metadata=(("is_gold", paragraph.is_gold),))
