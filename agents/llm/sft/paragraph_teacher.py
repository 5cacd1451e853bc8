"""Demonstrations on questions that come with paragraphs, by a teacher that knows the gold ones.

What it knows it uses only to decide: every word it writes stands in the question or on a page that
was shown, so a model can learn where the words come from. An episode in which the answer was never
on a page is no demonstration.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from zs_env.episode import Episode, EpisodeConfig
from zs_env.metrics import contains_answer, normalize_answer
from zs_env.questions.question import Paragraph, Question
from zs_env.search.engine import SearchEngine
from zs_env.search.types import Document, SearchError, SearchRequest
from zs_env.text.words import STOPWORDS, content_words
from zs_env.transcripts.transcript import Transcript

_WINDOW_WORDS = 12
_QUERY_WORDS = 8
_PARENTHESIS = re.compile(r"\s*\([^)]*\)")
_YEAR = re.compile(r"\b\d{4}\b")
_TIME = "first earlier later older younger born died recently before long released founded"
_TIME_WORDS = frozenset(_TIME.split())
# What a quotation does not begin or end with; the last is a dash, as between dates.
_EDGES = ' ,;."\u2013'
# Question words, which say nothing about the topic.
_ASKING_WORDS = "whose whom name named called kind type one either well known"
_ASKING = frozenset(_ASKING_WORDS.split())

_BEGIN = ("I look up {topic}.", "First, {topic}.", "I need to read about {topic}.")
_NEXT = ("Next, {topic}.", "Now I look up {topic}.", "I still need {topic}.")
_AGAIN = (
    "This page does not help. I try again: {topic}.",
    "Nothing useful here. Other words: {topic}.",
    "Not there. I search again for {topic}.",
)


def demonstrate_paragraphs(
    question: Question,
    engine: SearchEngine,
    *,
    config: EpisodeConfig,
    noise_probability: float,
    rng: random.Random,
) -> Transcript | None:
    """Play one episode as the teacher; None where the answer did not come up in time.

    Args:
        question: with paragraphs, some of them gold.
        engine: answers the searches.
        config: the episode's rules.
        noise_probability: in [0, 1], of each search.
        rng: draws the teacher's words and the episode's seed.

    Raises:
        ValueError: if the question has no gold paragraph.
        SearchError: if the engine cannot answer.
    """
    episode = Episode(
        question, config=config, noise_probability=noise_probability, seed=rng.getrandbits(63)
    )
    teacher = _Teacher(question, rng)
    while episode.finished is None:
        outcome = episode.act(teacher.act(episode.documents))
        if isinstance(outcome, SearchRequest):
            page = engine.search([outcome])[0]
            if isinstance(page, SearchError):
                raise page
            episode.receive(page)
    transcript = episode.transcript()
    return None if transcript.prediction is None else transcript


@dataclass
class _Teacher:
    """Looks its gold paragraphs up one after the other until the answer has been shown.

    Attributes:
        question: what is asked.
        rng: draws its words.
        hops: gold paragraphs, those that the question names first.
        seen: documents shown so far that are gold, by title.
        wanted: what the last search was for; None before the first.
        tries: searches made for it.
    """

    question: Question
    rng: random.Random
    hops: list[Paragraph] = field(init=False)
    seen: dict[str, Document] = field(default_factory=dict)
    wanted: Paragraph | None = None
    tries: int = 0

    def __post_init__(self) -> None:
        gold = [paragraph for paragraph in self.question.paragraphs if paragraph.is_gold]
        if not gold:
            raise ValueError(
                f"question {self.question.id!r} has no gold paragraph, which the teacher would "
                "look up; expected at least one with is_gold true: choose another file"
            )
        asked = self.question.text.lower()
        places = [asked.find(_core(paragraph.title).lower()) for paragraph in gold]
        named = [place if place >= 0 else len(asked) for place in places]
        self.hops = [gold[i] for i in sorted(range(len(gold)), key=named.__getitem__)]

    def act(self, documents: Sequence[Document]) -> str:
        """Write the next turn, having read a page."""
        titles = {paragraph.title for paragraph in self.hops}
        new = [document for document in documents if document.title in titles]
        new = [document for document in new if document.title not in self.seen]
        self.seen.update((document.title, document) for document in new)
        answer = self._answer()
        if answer is not None:
            return f"<think>{self._conclusion(answer)}</think><answer> {answer}</answer>"
        missing = [paragraph for paragraph in self.hops if paragraph.title not in self.seen]
        # All were shown, and yet no answer: it was cut off. Nothing is left to demonstrate.
        goal = missing[0] if missing else self.hops[-1]
        self.tries = self.tries + 1 if goal is self.wanted else 0
        topic, query = self._words(goal)
        thought = self._thought(new, topic, goal)
        self.wanted = goal
        return f"<think>{thought}</think><search> {query}</search>"

    def _answer(self) -> str | None:
        """The gold answer in the words of a page; None while it cannot be known yet."""
        answers = self.question.answers
        compares = self.question.is_yes_no or contains_answer(self.question.text, answers)
        if compares:
            complete = len(self.seen) == len({paragraph.title for paragraph in self.hops})
            return answers[0] if complete else None
        read = [f"{document.title}. {document.text}" for document in self.seen.values()]
        held = (a for a in answers if any(contains_answer(text, (a,)) for text in read))
        return next(held, None)

    def _conclusion(self, answer: str) -> str:
        """Quote what the answer rests on."""
        for document in reversed(self.seen.values()):
            if not self.question.is_yes_no and contains_answer(document.text, (answer,)):
                if not contains_answer(self.question.text, (answer,)):
                    return _quote(document, _window(document.text, answer))
                break
        both = [self.seen[p.title] for p in self.hops if p.title in self.seen][-2:]
        return " ".join(_quote(document, self._fact(document)[:8]) for document in both)

    def _fact(self, document: Document) -> list[str]:
        """The words of a document that a comparison rests on: a year, or what the thing is."""
        asked = {word.strip("?,.") for word in self.question.text.lower().split()}
        year = _YEAR.search(document.text) if _TIME_WORDS & asked else None
        return _window(document.text, year[0])[-7:] if year else _after_copula(document.text)

    def _thought(self, new: Sequence[Document], topic: str, goal: Paragraph) -> str:
        if self.wanted is None:
            return self.rng.choice(_BEGIN).format(topic=topic)
        if not new:
            return self.rng.choice(_AGAIN).format(topic=topic)
        link = _window(new[-1].text, _core(goal.title)) or _after_copula(new[-1].text)
        return f"{_quote(new[-1], link[:10])} {self.rng.choice(_NEXT).format(topic=topic)}"

    def _words(self, goal: Paragraph) -> tuple[str, str]:
        """Topic and query for a paragraph, in words that the question or a page has shown."""
        title = _core(goal.title)
        shown = " ".join([self.question.text, *(d.text for d in self.seen.values())])
        asked = _telling_words(self.question.text)
        known = {word for done in self.seen for word in content_words(done)}
        rest = [word for word in asked if not known.intersection(content_words(word))]
        if not contains_answer(shown, (title,)):
            words = rest if len(rest) >= 2 else asked
            if self.tries:
                words = self.rng.sample(words, len(words))[: max(3, len(words) // 2)]
            query = " ".join(words[:_QUERY_WORDS])
            return " ".join(words[:4]), query
        in_title = set(content_words(title))
        of_it = set(content_words(goal.text)) - in_title
        extra = [word for word in rest if of_it.intersection(content_words(word))]
        if self.tries:
            extra = self.rng.sample(rest, len(rest))
            extra = [word for word in extra if not in_title.intersection(content_words(word))]
        count = self.rng.randint(0, 3) + (self.tries > 0)
        return title, " ".join([title, *extra[:count]])


def _core(title: str) -> str:
    """A title without what tells it from its namesakes."""
    return _PARENTHESIS.sub("", title).strip() or title


def _telling_words(text: str) -> list[str]:
    """Words of a question that are worth searching for, as they are written."""
    words = [word.strip("?,.;:!\"'()") for word in text.split()]
    return [w for w in words if w and w.lower() not in STOPWORDS and w.lower() not in _ASKING]


def _quote(document: Document, words: Sequence[str]) -> str:
    return f'{_core(document.title)}: "{" ".join(words).strip(_EDGES)}".'


def _window(text: str, wanted: str) -> list[str]:
    """A few words around the first place of `wanted` as whole words; [] where it is not there."""
    words = text.split()
    telling = [(place, word) for place, raw in enumerate(words) if (word := normalize_answer(raw))]
    target = normalize_answer(wanted).split()
    if not target:
        return []
    for start in range(len(telling) - len(target) + 1):
        if [word for _, word in telling[start : start + len(target)]] == target:
            first, last = telling[start][0], telling[start + len(target) - 1][0] + 1
            begin = max(0, last - _WINDOW_WORDS)
            begin = min(begin, first)
            for place in range(first - 1, begin - 1, -1):
                if words[place].endswith((".", ";")):
                    begin = place + 1
                    break
            return words[begin : max(last, begin + 4)][: _WINDOW_WORDS + len(target)]
    return []


def _after_copula(text: str) -> list[str]:
    """The first words that say what the thing is."""
    words = text.split()
    starts = [
        place for place, word in enumerate(words[:40]) if word in ("is", "was", "are", "were")
    ]
    begin = starts[0] if starts else 0
    return words[begin : begin + 10]
