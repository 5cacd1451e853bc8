"""A teacher for questions without gold paragraphs, which searches a corpus.

It knows the gold answers, and uses them only to decide whether a page answers the question. Every
word of its queries, quotations and answers is in the question or on a page that was shown.
"""

from __future__ import annotations

from agents.llm.sft.quotations import (
    FIRST_SEARCH,
    REPEATED_SEARCH,
    core,
    quote,
    search_words,
    window,
)
from agents.llm.sft.teacher import Teacher
from zs_env.episode import Episode
from zs_env.metrics import contains_answer
from zs_env.questions.question import Question
from zs_env.search.types import Document
from zs_env.text.words import content_words

_QUERY_WORDS = 10


class PassageTeacher(Teacher):
    """Searches with words of the question until a page shows a gold answer, and quotes it.

    If the agent can open documents, it opens one that shows an answer only in full.

    If no page shows an answer in time, the transcript has no prediction.

    Args:
        question: a question whose answer is neither yes or no nor a part of the question.
        rng: random source of the words and of the episode's seed.
    """

    def act(self, episode: Episode) -> str:
        found = self._best(episode.documents)
        if found is not None:
            document, answer = found
            words = window(document.text, answer)
            thought = quote(document, words) if words else f"{core(document.title)}."
            return f"<think>{thought}</think><answer> {answer}</answer>"
        opened = self.open_answer(episode, episode.documents)
        if opened is not None:
            return opened
        words = search_words(self.question.text)
        if episode.turns:
            words = self._other_words(words)
        templates = REPEATED_SEARCH if episode.turns else FIRST_SEARCH
        thought = self.rng.choice(templates).format(topic=" ".join(words[:4]))
        return f"<think>{thought}</think><search> {' '.join(words[:_QUERY_WORDS])}</search>"

    def _best(self, documents: tuple[Document, ...]) -> tuple[Document, str] | None:
        """Return the document with an answer that shares most words with the question."""
        asked = set(content_words(self.question.text))
        found = [
            (
                len(asked.intersection(content_words(f"{one.title} {one.text}"))),
                -one.rank,
                one,
                gold,
            )
            for one in documents
            for gold in self.question.answers
            if contains_answer(one.text, (gold,))
        ]
        return max(found, key=lambda item: item[:2])[2:] if found else None

    def _other_words(self, words: list[str]) -> list[str]:
        """Return most of the words, names first, in their order."""
        names = [word for word in words if not word.islower()]
        others = [word for word in words if word.islower()]
        kept = set(self.rng.sample(others, (len(others) + 1) // 2)) | set(names)
        return [word for word in words if word in kept] or words


def can_be_taught(question: Question) -> bool:
    """Whether a page can show the answer, and the question does not."""
    answers = question.answers
    return not (question.is_yes_no or contains_answer(question.text, answers))
