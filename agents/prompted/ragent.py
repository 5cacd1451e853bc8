"""RAgent: a prompted model that decides at every turn what to look up, or that it knows enough.

The name is that of the baseline in ZeroSearch (arXiv:2505.04588), section 4.1; the loop is the one
of ReAct (arXiv:2210.03629), with one
worked example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from agents.prompted.free_text import answer_in, first_move
from agents.prompted.history import as_notes, past_searches
from agents.prompted.method import Ask, Step
from agents.prompted.searching import check_settings
from agents.prompted.turn_text import answer_turn, search_turn

STEP_PROMPT = (
    "You answer a question with the help of a search engine, one step at a time. A step is one "
    'short sentence of thought, and below it one line: either "Search:" and a short query, or, '
    'once you know it, "Answer:" and the answer in as few words as you can. A question may need '
    "several searches, each for one fact. Documents may be of no use: then search again, in other "
    "words.\n\n"
    "For example:\n"
    "Question: Where was the author of the novel The Glass Harbour born?\n"
    "I need to know who wrote it.\n"
    "Search: author of The Glass Harbour\n"
    "Doc 1: The Glass Harbour is a novel by Mira Tolland from 1951.\n"
    "Now I need to know where she was born.\n"
    "Search: Mira Tolland birthplace\n"
    "Doc 1: Mira Tolland, born in Aldmoor, wrote eleven novels.\n"
    "That is what was asked.\n"
    "Answer: Aldmoor\n\n"
    "Now take the next step. You may search {left} more times.\n"
    "Question: {question}\n{notes}"
)
LAST_PROMPT = (
    "You looked up a question with a search engine. Documents may be of no use.\n\n{notes}\n"
    "Now answer, in as few words as you can, not in a sentence. If the documents do not tell, "
    "guess.\n\n"
    "Question: {question}\nAnswer:"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RAgent:
    """Shows the model all it has looked up and does what its first "Search:" or "Answer:" says.

    A text without either searches the question as it stands, where nothing was searched yet; later
    it is an answer: its last line.

    Attributes:
        max_searches: after so many the answer is asked for; keep it below the environment's
            `max_turns`, or the episode ends before.
        max_chars: of pages in a prompt; the oldest are left out first.
    """

    max_searches: int = 5
    max_chars: int = 12000

    def __post_init__(self) -> None:
        check_settings(max_searches=self.max_searches, max_chars=self.max_chars)

    def step(self, observation: Mapping[str, Any]) -> Step:
        """Return what to do, from the observation alone."""
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
