"""A teacher for questions with paragraphs, which knows the gold paragraphs.

It uses this knowledge for its decisions only. Every word of its queries, quotations and answers is
in the question or on a page that was shown, so a model can learn where the words come from. An
episode in which no page showed the answer is no demonstration.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from agents.llm.sft.quotations import (
    FIRST_SEARCH,
    REPEATED_SEARCH,
    after_copula,
    core,
    quote,
    search_words,
    window,
)
from agents.llm.sft.teacher import Teacher
from zs_env.episode import Episode
from zs_env.metrics import contains_answer
from zs_env.questions.question import Paragraph, Question
from zs_env.search.types import Document
from zs_env.text.words import content_words

_QUERY_WORDS = 8
_YEAR = re.compile(r"\b\d{4}\b")
_TIME = "first earlier later older younger born died recently before long released founded"
_TIME_WORDS = frozenset(_TIME.split())

_NEXT = ("Next, {topic}.", "Now I look up {topic}.", "I still need {topic}.")


class ParagraphTeacher(Teacher):
    """Looks up the gold paragraphs one after the other until the answer has been shown.

    If the agent can open documents, it opens a gold paragraph whose answer was cut off. If no page
    shows the answer in time, the transcript has no prediction.

    Args:
        question: a question with gold paragraphs.
        rng: random source of the words and of the episode's seed.

    Raises:
        ValueError: if the question has no gold paragraph.
    """

    def __init__(self, question: Question, rng: random.Random) -> None:
        super().__init__(question, rng)
        gold = [paragraph for paragraph in question.paragraphs if paragraph.is_gold]
        if not gold:
            raise ValueError(
                f"question {question.id!r} has no gold paragraph; the teacher needs at least "
                "one with is_gold true: choose another file"
            )
        text = question.text.lower()

        def position(paragraph: Paragraph) -> int:
            found = text.find(core(paragraph.title).lower())
            return found if found >= 0 else len(text)

        # In the order in which the question names them, then the others.
        self.hops = sorted(gold, key=position)
        self.seen: dict[str, Document] = {}  # gold documents shown so far, by title
        self.wanted: Paragraph | None = None  # paragraph of the last search
        self.tries = 0  # earlier searches in a row for it

    def act(self, episode: Episode) -> str:
        unseen = {paragraph.title for paragraph in self.hops} - self.seen.keys()
        new = [document for document in episode.documents if document.title in unseen]
        gold = [one for one in episode.documents if one.title in unseen | self.seen.keys()]
        opened = bool(episode.turns) and episode.turns[-1].is_open
        self.seen.update((document.title, document) for document in (gold if opened else new))
        answer = self._answer()
        if answer is not None:
            return f"<think>{self._conclusion(answer)}</think><answer> {answer}</answer>"
        if not self._compares and (turn := self.open_answer(episode, gold)) is not None:
            return turn
        missing = [paragraph for paragraph in self.hops if paragraph.title not in self.seen]
        # If all were shown without the answer, it was cut off, and the episode will fail.
        goal = missing[0] if missing else self.hops[-1]
        self.tries = self.tries + 1 if goal is self.wanted else 0
        topic, query = self._words(goal)
        thought = self._thought(new, topic, goal)
        self.wanted = goal
        return f"<think>{thought}</think><search> {query}</search>"

    @property
    def _compares(self) -> bool:
        """Whether the question has the answer, or it is yes or no."""
        question = self.question
        return question.is_yes_no or contains_answer(question.text, question.answers)

    def _answer(self) -> str | None:
        """Return the gold answer in the words of a page; None if no page has shown it yet."""
        answers = self.question.answers
        if self._compares:
            complete = len(self.seen) == len({paragraph.title for paragraph in self.hops})
            return answers[0] if complete else None
        read = [f"{document.title}. {document.text}" for document in self.seen.values()]
        shown = (a for a in answers if any(contains_answer(text, (a,)) for text in read))
        return next(shown, None)

    def _conclusion(self, answer: str) -> str:
        """Quote the documents that support the answer."""
        for document in reversed(self.seen.values()):
            if not self.question.is_yes_no and contains_answer(document.text, (answer,)):
                if not contains_answer(self.question.text, (answer,)):
                    return quote(document, window(document.text, answer))
                break
        both = [self.seen[p.title] for p in self.hops if p.title in self.seen][-2:]
        return " ".join(quote(document, self._fact(document)[:8]) for document in both)

    def _fact(self, document: Document) -> list[str]:
        """Return the words of a document for a comparison: those before a year, or a definition."""
        question_words = {word.strip("?,.") for word in self.question.text.lower().split()}
        year = _YEAR.search(document.text) if _TIME_WORDS & question_words else None
        return window(document.text, year[0])[-7:] if year else after_copula(document.text)

    def _thought(self, new: Sequence[Document], topic: str, goal: Paragraph) -> str:
        if self.wanted is None:
            return self.rng.choice(FIRST_SEARCH).format(topic=topic)
        if not new:
            return self.rng.choice(REPEATED_SEARCH).format(topic=topic)
        link = window(new[-1].text, core(goal.title)) or after_copula(new[-1].text)
        return f"{quote(new[-1], link[:10])} {self.rng.choice(_NEXT).format(topic=topic)}"

    def _words(self, goal: Paragraph) -> tuple[str, str]:
        """Return topic and query for a paragraph, in words of the question and of the pages."""
        title = core(goal.title)
        shown = " ".join([self.question.text, *(d.text for d in self.seen.values())])
        question_words = search_words(self.question.text)
        known = {word for done in self.seen for word in content_words(done)}
        rest = [word for word in question_words if not known.intersection(content_words(word))]
        if not contains_answer(shown, (title,)):
            words = rest if len(rest) >= 2 else question_words
            if self.tries:
                words = self.rng.sample(words, len(words))[: max(3, len(words) // 2)]
            query = " ".join(words[:_QUERY_WORDS])
            return " ".join(words[:4]), query
        in_title = set(content_words(title))
        in_text = set(content_words(goal.text)) - in_title
        extra = [word for word in rest if in_text.intersection(content_words(word))]
        if self.tries:
            extra = self.rng.sample(rest, len(rest))
            extra = [word for word in extra if not in_title.intersection(content_words(word))]
        count = self.rng.randint(0, 3) + (self.tries > 0)
        return title, " ".join([title, *extra[:count]])
