"""RAgent: a prompted model that decides in every turn whether to search or to answer.

The name is from ZeroSearch (arXiv:2505.04588), section 4.1. The loop is the one of ReAct
(arXiv:2210.03629), with one worked example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from agents.prompted.free_text import answer_in, first_move
from agents.prompted.history import as_notes, past_searches
from agents.prompted.method import Ask, Step
from agents.prompted.searching import SearchSettings
from agents.prompted.turn_text import answer_turn, search_turn

STEP_PROMPT = (
    "Answer a question with a search engine, one step at a time. In each step, write one short "
    'sentence of reasoning and then one line: either "Search:" with a short query or, once you '
    'know the answer, "Answer:" with the answer in as few words as possible. A question may need '
    "several searches, each for one fact. Documents may be irrelevant. In that case, search again "
    "with other words.\n\n"
    "Example:\n"
    "Question: Where was the author of the novel The Glass Harbour born?\n"
    "I need to know who wrote it.\n"
    "Search: author of The Glass Harbour\n"
    "Doc 1: The Glass Harbour is a novel by Mira Tolland from 1951.\n"
    "Now I need to know where she was born.\n"
    "Search: Mira Tolland birthplace\n"
    "Doc 1: Mira Tolland, born in Aldmoor, wrote eleven novels.\n"
    "This answers the question.\n"
    "Answer: Aldmoor\n\n"
    "Now write the next step. You may search {left} more times.\n"
    "Question: {question}\n{notes}"
)
LAST_PROMPT = (
    "These are your searches for a question and the documents found. Documents may be "
    "irrelevant.\n\n{notes}\n"
    "Now answer the question. Use as few words as possible, not a sentence. If the documents do "
    "not contain the answer, guess.\n\n"
    "Question: {question}\nAnswer:"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RAgent(SearchSettings):
    """Shows the model all earlier searches and executes its first "Search:" or "Answer:" line.

    If the completion has no such line, the first turn searches for the question. In later turns,
    the last line of the completion is the answer. `max_chars` limits the pages in a prompt; the
    oldest pages are dropped first.
    """

    def step(self, observation: Mapping[str, Any]) -> Step:
        """Return the next step, which depends only on the observation."""
        question, past = observation["question"], past_searches(observation)
        notes = as_notes(past, self.max_chars)
        left = self.max_searches - len(past)
        if left < 1:
            return Ask(LAST_PROMPT.format(notes=notes, question=question), _answer)
        prompt = STEP_PROMPT.format(left=left, notes=notes, question=question)
        return Ask(prompt, partial(_move, question, is_new=not past))


def _move(question: str, text: str, *, is_new: bool) -> str:
    move = first_move(text)
    if move is None and is_new:
        return search_turn(question, text)
    if move is None:
        return answer_turn(answer_in(text, otherwise="last"), text)
    turn = search_turn if move.kind == "search" else answer_turn
    return turn(move.text, move.thought)


def _answer(text: str) -> str:
    return answer_turn(answer_in(text, otherwise="first"))
