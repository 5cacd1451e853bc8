"""A search engine over the paragraphs that came with the questions: real text without an LLM.

A gold paragraph is shown only to a query that shares a content word with it: a junk query earns
nothing, however useful the page was meant to be.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from zs_env.metrics import contains_answer
from zs_env.questions.question import Paragraph, Question
from zs_env.search.engine import SearchEngine
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest
from zs_env.text.words import content_words

if TYPE_CHECKING:
    from zs_env.questions.question import QuestionDataset

# BM25's customary saturation and length normalisation.
_K1, _B = 1.2, 0.75
# A prepared shelf of ten paragraphs takes some 100 kB.
_MAX_SHELVES = 2048
_MAX_QUESTIONS = 10_000_000


@dataclass(frozen=True, slots=True)
class _Candidate:
    paragraph: Paragraph
    frequencies: Counter[str]
    length: int
    holds_answer: bool


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The paragraphs of one question, ready to be ranked."""

    candidates: tuple[_Candidate, ...]
    document_frequencies: Counter[str]
    mean_length: float


class ParagraphEngine(SearchEngine):
    """Ranks the paragraphs of the question by the query.

    A useful place goes to a gold paragraph that shares a content word with the query, or else to
    the best distractor; a noisy place goes to the best distractor that holds no gold answer (for
    yes/no questions: to the best distractor). No paragraph stands twice on a page, so a page may be
    short. The same query brings the same page: the request's seed plays no part.

    Args:
        questions: questions with paragraphs; they are found again by their text, and those that
            share a text share their paragraphs.
        min_distractors: a question with fewer distractors borrows from the questions after it.

    Raises:
        ValueError: if no question has a paragraph, or the questions are generated without end.
    """

    name = "paragraphs"
    in_process = True

    def __init__(self, questions: QuestionDataset, *, min_distractors: int = 5) -> None:
        if len(questions) > _MAX_QUESTIONS:
            raise ValueError(
                f"got {len(questions)} questions, expected at most {_MAX_QUESTIONS}: a generated "
                "source has no paragraphs; use its own engine"
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
                f"none of the {len(questions)} questions has paragraphs; use a set that brings "
                "them (field 'paragraphs') or another engine, such as BM25Engine"
            )
        self._shelves: dict[str, _Shelf] = {}

    @property
    def fingerprint(self) -> str:
        """Changes with every paragraph."""
        digest = blake2b(digest_size=16)
        for question in self._questions:
            digest.update(repr((question.text, question.paragraphs)).encode("utf-8", "replace"))
        return f"paragraphs-1:{self._min_distractors}:{digest.hexdigest()}"

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage]:
        """Return one page per request.

        Raises:
            SearchError: if a request's question is None or has no paragraphs here.
        """
        return [self._page(request) for request in requests]

    def _page(self, request: SearchRequest) -> SearchPage:
        if request.question is None or request.question not in self._places:
            raise SearchError(
                f"no paragraphs for the question {request.question!r}: the environment asks "
                "questions that this engine was not built with; give both the same questions"
            )
        shelf = self._shelf(request.question)
        scores = _scores(shelf, frozenset(content_words(request.query)))
        ranked = sorted(range(len(scores)), key=lambda place: -scores[place])
        chosen = _choose(shelf.candidates, ranked, scores, request.useful)
        return SearchPage(
            tuple(
                Document(
                    text=shelf.candidates[place].paragraph.text,
                    title=shelf.candidates[place].paragraph.title,
                    useful=useful,
                    metadata=(("is_gold", shelf.candidates[place].paragraph.is_gold),),
                )
                for place, useful in chosen
            ),
            SearchCost(calls=1),
            self.name,
        )

    def _shelf(self, text: str) -> _Shelf:
        shelf = self._shelves.get(text)
        if shelf is None:
            if len(self._shelves) >= _MAX_SHELVES:
                self._shelves.clear()
            shelf = self._shelves[text] = self._make_shelf(text)
        return shelf

    def _make_shelf(self, text: str) -> _Shelf:
        places = self._places[text]
        answers = tuple(answer for place in places for answer in self._questions[place].answers)
        is_yes_no = all(self._questions[place].is_yes_no for place in places)
        paragraphs = dict.fromkeys(p for place in places for p in self._questions[place].paragraphs)
        candidates = [
            _candidate(paragraph, () if is_yes_no else answers)
            for paragraph in [*paragraphs, *self._borrowed(places, paragraphs)]
        ]
        return _Shelf(
            tuple(candidates),
            Counter(word for candidate in candidates for word in candidate.frequencies),
            sum(candidate.length for candidate in candidates) / len(candidates),
        )

    def _borrowed(self, places: list[int], own: dict[Paragraph, None]) -> list[Paragraph]:
        """Paragraphs of later questions, as distractors where the own ones are too few."""
        missing = self._min_distractors - sum(not paragraph.is_gold for paragraph in own)
        borrowed: dict[tuple[str, str], Paragraph] = {}
        known = {(paragraph.title, paragraph.text) for paragraph in own}
        for step in range(1, len(self._questions)):
            if len(borrowed) >= missing:
                break
            place = (places[-1] + step) % len(self._questions)
            for paragraph in self._questions[place].paragraphs[:1]:
                key = (paragraph.title, paragraph.text)
                if key not in known:
                    borrowed[key] = Paragraph(title=key[0], text=key[1], is_gold=False)
        return list(borrowed.values())


def _candidate(paragraph: Paragraph, answers: tuple[str, ...]) -> _Candidate:
    words = content_words(f"{paragraph.title} {paragraph.text}")
    holds_answer = contains_answer(f"{paragraph.title} {paragraph.text}", answers)
    return _Candidate(paragraph, Counter(words), len(words), holds_answer)


def _scores(shelf: _Shelf, query_words: frozenset[str]) -> list[float]:
    """BM25 of each candidate within its shelf; above 0 exactly where a word is shared."""
    total = len(shelf.candidates)
    frequencies = shelf.document_frequencies
    # Sorted, because a sum of floats depends on its order and a set has none.
    weights = [
        (word, math.log(1 + (total - frequencies[word] + 0.5) / (frequencies[word] + 0.5)))
        for word in sorted(query_words & frequencies.keys())
    ]
    return [
        sum(
            weight * count / (count + _K1 * (1 - _B + _B * candidate.length / shelf.mean_length))
            for word, weight in weights
            if (count := candidate.frequencies.get(word))
        )
        for candidate in shelf.candidates
    ]


def _choose(
    candidates: Sequence[_Candidate],
    ranked: Sequence[int],
    scores: Sequence[float],
    useful: Sequence[bool],
) -> list[tuple[int, bool]]:
    """Give every asked place a candidate: useful places first come first, then noisy ones.

    The useful documents stand in the order of their scores, not gold before distractor: a
    document's rank must not give away that it is gold.
    """
    gold = [place for place in ranked if candidates[place].paragraph.is_gold and scores[place] > 0]
    distractors = [place for place in ranked if not candidates[place].paragraph.is_gold]
    silent = [place for place in distractors if not candidates[place].holds_answer]
    num_noisy = len(useful) - sum(useful)
    for_noisy = silent[:num_noisy]
    free = [place for place in distractors if place not in for_noisy]
    for_useful = sorted([*gold, *free][: sum(useful)], key=ranked.index)
    noisy_places, useful_places = iter(for_noisy), iter(for_useful)
    chosen = ((next(useful_places if flag else noisy_places, None), flag) for flag in useful)
    return [(place, flag) for place, flag in chosen if place is not None]
