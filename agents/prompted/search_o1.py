"""Search-o1: a model that reasons, looks things up on the way, and never reads a raw page.

Between a page and the reasoning stands a second call of the model, which refines the documents into
what the reasoning needs. Source: Li et al., "Search-o1" (arXiv:2501.05366). Where it departs: lines
"Search:" and "Answer:" stand in for special tokens, and the reasoning goes on in a new message that
shows it so far, so that any chat model will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from agents.prompted.free_text import answer_in, first_move, without_thinking
from agents.prompted.history import PastSearch, past_searches
from agents.prompted.method import Ask, Step
from agents.prompted.searching import check_settings
from agents.prompted.turn_text import answer_turn, search_turn

REFINE_PROMPT = (
    "Somebody reasons about a question and has looked something up.\n\nQuestion: {question}\n\n"
    'Reasoning so far:\n{reasoning}\n\nDocuments found for the query "{query}":\n{page}\n\n'
    "Write down, in at most three sentences, what these documents say that helps the reasoning "
    'on. Add nothing of your own. If nothing in them helps, write "Nothing helpful."'
)
REASON_PROMPT = (
    "Reason step by step until you know the answer to a question. You can use a search engine: "
    'wherever you lack a fact, write a line that begins with "Search:" and holds a short query, '
    "and stop there; what is found is then added to your reasoning. Once you know the answer, "
    'write a line that begins with "Answer:" and holds it in as few words as you can.\n\n'
    "For example:\n"
    "Question: Where was the author of the novel The Glass Harbour born?\n"
    "First I need to know who wrote The Glass Harbour.\n"
    "Search: author of The Glass Harbour\n"
    "Found: The Glass Harbour is a novel by Mira Tolland.\n"
    "So I need to know where Mira Tolland was born.\n"
    "Search: Mira Tolland birthplace\n"
    "Found: Mira Tolland was born in Aldmoor.\n"
    "So the author was born in Aldmoor.\n"
    "Answer: Aldmoor\n\n"
    "Now go on with this one. You may search {left} more times.\n"
    "Question: {question}\n{reasoning}"
)
LAST_PROMPT = (
    "Finish this reasoning about a question. Nothing more can be looked up: if it leaves the "
    'answer open, guess. End with one line that begins with "Answer:" and holds the answer in as '
    "few words as you can.\n\n"
    "Question: {question}\n{reasoning}"
)
_MAX_NOTE = 1000  # characters of what is kept of a page


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchO1:
    """Goes on with its reasoning at every turn, after refining the page that came.

    A text without a "Search:" or "Answer:" line searches the question as it stands, where nothing
    was searched yet; later it is an answer: its last line.

    Attributes:
        max_searches: after so many the answer is asked for; keep it below the environment's
            `max_turns`, or the episode ends before.
        max_chars: of a page, and of the reasoning, in a prompt; of the reasoning the end is kept.
    """

    max_searches: int = 5
    max_chars: int = 12000

    def __post_init__(self) -> None:
        check_settings(max_searches=self.max_searches, max_chars=self.max_chars)

    def step(self, observation: Mapping[str, Any]) -> Step:
        """Return what to do, from the observation alone."""
        question, past = observation["question"], past_searches(observation)
        if not past:
            return self._reason(question, past, "")
        prompt = REFINE_PROMPT.format(
            question=question,
            reasoning=self._reasoning(past),
            query=past[-1].query,
            page=past[-1].page[: self.max_chars],
        )
        return Ask(prompt, partial(self._reason, question, past))

    def _reason(self, question: str, past: Sequence[PastSearch], refined: str) -> Step:
        """Go on with the reasoning, given what was made of the last page."""
        note = " ".join(without_thinking(refined)[1].split())[:_MAX_NOTE] or "Nothing helpful."
        found = f"Found: {note}" if past else ""
        left = self.max_searches - len(past)
        prompt = (REASON_PROMPT if left > 0 else LAST_PROMPT).format(
            question=question, reasoning=self._reasoning(past, found), left=left
        )
        if not past:
            return Ask(prompt, partial(_begin, question))
        return Ask(prompt, partial(_move, found, may_search=left > 0))

    def _reasoning(self, past: Sequence[PastSearch], found: str = "") -> str:
        parts = [part for one in past for part in (one.thought, f"Search: {one.query}")]
        text = "\n".join(part for part in (*parts, found) if part)
        return text[-self.max_chars :]


def _begin(question: str, text: str) -> str:
    if first_move(text) is None:
        return search_turn(question, text)
    return _move("", text, may_search=True)


def _move(found: str, text: str, *, may_search: bool) -> str:
    move = first_move(text)
    if move is not None and move.kind == "search" and may_search:
        return search_turn(move.text, _joined(found, move.thought))
    if move is not None and move.kind == "answer":
        return answer_turn(move.text, _joined(found, move.thought))
    return answer_turn(answer_in(text, otherwise="last"), _joined(found, text))


def _joined(found: str, thought: str) -> str:
    return "\n".join(part for part in (found, thought.strip()) if part)
