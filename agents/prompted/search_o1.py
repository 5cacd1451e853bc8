"""Search-o1: a model that searches while it reasons and reads only summaries of the pages.

A second call of the model condenses each page into the facts that the reasoning needs.

Source: Li et al., "Search-o1" (arXiv:2501.05366). Differences: "Search:" and "Answer:" lines
replace the special tokens, and each turn is a new message that contains the reasoning so far. Any
chat model can therefore be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from agents.prompted.free_text import answer_in, first_move, without_thinking
from agents.prompted.history import PastSearch, past_searches
from agents.prompted.method import Ask, Step
from agents.prompted.searching import SearchSettings
from agents.prompted.turn_text import answer_turn, search_turn

REFINE_PROMPT = (
    "Below are a question, the reasoning about it so far, and the documents of the last search."
    "\n\nQuestion: {question}\n\n"
    'Reasoning so far:\n{reasoning}\n\nDocuments found for the query "{query}":\n{page}\n\n'
    "Summarize in at most three sentences the facts from these documents that help to answer the "
    'question. Use only the documents. If no fact helps, write "Nothing helpful."'
)
REASON_PROMPT = (
    "Reason step by step until you know the answer to a question. You can use a search engine. If "
    'you need a fact, write a line that starts with "Search:", followed by a short query, and '
    "stop. The result is then added to your reasoning. Once you know the answer, write a line that "
    'starts with "Answer:", followed by the answer in as few words as possible.\n\n'
    "Example:\n"
    "Question: Where was the author of the novel The Glass Harbour born?\n"
    "First I need to know who wrote The Glass Harbour.\n"
    "Search: author of The Glass Harbour\n"
    "Found: The Glass Harbour is a novel by Mira Tolland.\n"
    "So I need to know where Mira Tolland was born.\n"
    "Search: Mira Tolland birthplace\n"
    "Found: Mira Tolland was born in Aldmoor.\n"
    "So the author was born in Aldmoor.\n"
    "Answer: Aldmoor\n\n"
    "Now continue with this question. You may search {left} more times.\n"
    "Question: {question}\n{reasoning}"
)
LAST_PROMPT = (
    "Finish this reasoning about a question. You cannot search any more. If the answer is still "
    'unknown, guess. End with one line that starts with "Answer:", followed by the answer in as '
    "few words as possible.\n\n"
    "Question: {question}\n{reasoning}"
)
_MAX_NOTE = 1000  # characters of the summary of a page


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchO1(SearchSettings):
    """Summarizes the last page, then continues the reasoning.

    If the completion has no "Search:" or "Answer:" line, the first turn searches for the question.
    In later turns, the last line of the completion is the answer. `max_chars` limits the page and
    the reasoning in a prompt; the start of a longer reasoning is dropped.
    """

    def step(self, observation: Mapping[str, Any]) -> Step:
        """Return the next step, which depends only on the observation."""
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

    def _reason(self, question: str, past: Sequence[PastSearch], summary: str) -> Step:
        """Continue the reasoning with the summary of the last page."""
        note = " ".join(without_thinking(summary)[1].split())[:_MAX_NOTE] or "Nothing helpful."
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
