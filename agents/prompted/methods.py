"""The methods of prompted agents. A method builds prompts and parses completions.

Sources:

- `ChainOfThought`: Wei et al. (arXiv:2201.11903); without examples as here, Kojima et al.
  (arXiv:2205.11916).
- `RetrieveOnce`: Lewis et al. (arXiv:2005.11401), with a prompt instead of training.
- `RAgent`: the name is from ZeroSearch (arXiv:2505.04588), section 4.1; the loop is the one of
  ReAct (arXiv:2210.03629), with one worked example.
- `SearchO1`: Li et al., "Search-o1" (arXiv:2501.05366). Differences: "Search:" and "Answer:" lines
  replace the special tokens, and each turn is a new message that contains the reasoning so far. Any
  chat model can therefore be used.
- `Instruct`: the protocol of Search-R1 (arXiv:2503.09516) and ZeroSearch, without training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

from agents.prompted.free_text import answer_in, first_move
from agents.prompted.turns import (
    PastSearch,
    answer_turn,
    as_notes,
    past_searches,
    protocol_turn,
    search_turn,
)
from zs_env.text.thinking import split_thinking

# No example: a small model copies the answer of an example.
DIRECT_PROMPT = (
    "Answer the question from your own knowledge. Use as few words as possible, not a sentence. If "
    "you are not sure, guess.\n\n"
    "Question: {question}\nAnswer:"
)
REASONING_PROMPT = (
    "Answer the question from your own knowledge. First reason step by step in a few sentences. "
    'Then write one line that starts with "Answer:", followed by the answer in as few words as '
    "possible. If you are not sure, guess.\n\n"
    "Question: {question}"
)
PAGE_PROMPT = (
    "Answer the question with the documents from a search engine. Use as few words as possible, "
    "not a sentence. Some documents may be irrelevant. If they do not contain the answer, "
    "guess.\n\n"
    "{documents}\n\nQuestion: {question}\nAnswer:"
)
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
NOTES_PROMPT = (
    "These are your searches for a question and the documents found. Documents may be "
    "irrelevant.\n\n{notes}\n"
    "Now answer the question. Use as few words as possible, not a sentence. If the documents do "
    "not contain the answer, guess.\n\n"
    "Question: {question}\nAnswer:"
)
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
FINISH_PROMPT = (
    "Finish this reasoning about a question. You cannot search any more. If the answer is still "
    'unknown, guess. End with one line that starts with "Answer:", followed by the answer in as '
    "few words as possible.\n\n"
    "Question: {question}\n{reasoning}"
)
_MAX_SUMMARY = 1000  # characters


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for a completion of a user's message; `then` returns the next step for it."""

    prompt: str
    then: Callable[[str], Step]


# The text of the action, or a request for a completion before it.
Step = str | Ask


class Method(Protocol):
    """Answers questions with a language model.

    A method is a frozen dataclass of its settings: its `repr` is part of the agent's fingerprint.
    Its attribute `prompt`, "bare" by default, names the environment's prompt; None keeps the
    environment's own.
    """

    def step(self, observation: Mapping[str, Any]) -> Step:
        """Return the next step, which depends only on the observation."""
        ...


@dataclass(frozen=True, slots=True)
class DirectAnswer:
    """Requests the answer from memory. The first line of the completion is the answer."""

    def step(self, observation: Mapping[str, Any]) -> Step:
        return Ask(DIRECT_PROMPT.format(question=observation["question"]), _first_line)


@dataclass(frozen=True, slots=True)
class ChainOfThought:
    """Requests reasoning from memory and an answer in one text. The text becomes the thought."""

    def step(self, observation: Mapping[str, Any]) -> Step:
        return Ask(
            REASONING_PROMPT.format(question=observation["question"]),
            lambda text: answer_turn(answer_in(text, otherwise="last"), text),
        )


@dataclass(frozen=True, slots=True)
class RetrieveOnce:
    """Searches for the question, then requests the answer with the documents in the prompt."""

    def step(self, observation: Mapping[str, Any]) -> Step:
        question = observation["question"]
        if observation["message"] == observation["transcript"]:  # the first turn
            return search_turn(question)
        documents = [document for document in observation["documents"] if document]
        lines = [f"Doc {rank}: {document}" for rank, document in enumerate(documents, start=1)]
        page = "\n".join(lines) or "(none)"
        return Ask(PAGE_PROMPT.format(documents=page, question=question), _first_line)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Settings shared by the methods with several searches.

    Attributes:
        max_searches: number of searches after which the answer is requested. It must be below the
            environment's `max_turns`, or the episode ends without an answer.
        max_chars: maximum length of the retrieved text in a prompt.

    Raises:
        ValueError: if a setting is not a whole number of at least 1.
    """

    max_searches: int = 5
    max_chars: int = 12000

    def __post_init__(self) -> None:
        for name in ("max_searches", "max_chars"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RAgent(SearchSettings):
    """Shows the model all earlier searches and executes its first "Search:" or "Answer:" line.

    If the completion has no such line, the first turn searches for the question. In later turns,
    the last line of the completion is the answer. `max_chars` limits the pages in a prompt; the
    oldest pages are dropped first.
    """

    def step(self, observation: Mapping[str, Any]) -> Step:
        question, past = observation["question"], past_searches(observation)
        notes = as_notes(past, self.max_chars)
        left = self.max_searches - len(past)
        if left < 1:
            return Ask(NOTES_PROMPT.format(notes=notes, question=question), _first_line)
        prompt = STEP_PROMPT.format(left=left, notes=notes, question=question)
        return Ask(prompt, partial(_first_move, None if past else question))


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchO1(SearchSettings):
    """Summarizes the last page, then continues the reasoning.

    If the completion has no "Search:" or "Answer:" line, the first turn searches for the question.
    In later turns, the last line of the completion is the answer. `max_chars` limits the page and
    the reasoning in a prompt; the start of a longer reasoning is dropped.
    """

    def step(self, observation: Mapping[str, Any]) -> Step:
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
        note = " ".join(split_thinking(summary)[1].split())[:_MAX_SUMMARY] or "Nothing helpful."
        found = f"Found: {note}" if past else ""
        left = self.max_searches - len(past)
        prompt = (REASON_PROMPT if left > 0 else FINISH_PROMPT).format(
            question=question, reasoning=self._reasoning(past, found), left=left
        )
        fallback = None if past else question
        return Ask(prompt, partial(_first_move, fallback, found=found, may_search=left > 0))

    def _reasoning(self, past: Sequence[PastSearch], found: str = "") -> str:
        parts = [part for one in past for part in (one.thought, f"Search: {one.query}")]
        return _joined(*parts, found)[-self.max_chars :]


@dataclass(frozen=True, slots=True)
class Instruct:
    """Plays the protocol of the environment: the model writes `<search>` and `<answer>` itself.

    The user's message is the transcript so far: the environment's own prompt, and all earlier turns
    and pages. The completion up to its first closing tag is the turn; thinking before it becomes
    the thought. A completion without an action is a malformed action of the environment.
    """

    prompt: ClassVar[str | None] = None

    def step(self, observation: Mapping[str, Any]) -> Step:
        return Ask(observation["transcript"], protocol_turn)


def _first_line(text: str) -> str:
    return answer_turn(answer_in(text, otherwise="first"))


def _first_move(
    fallback_query: str | None, text: str, *, found: str = "", may_search: bool = True
) -> str:
    """Return the first move of a completion; without one, search or answer the last line.

    The thought begins with `found`.
    """
    move = first_move(text)
    if move is not None and (may_search or move.kind == "answer"):
        turn = search_turn if move.kind == "search" else answer_turn
        return turn(move.text, _joined(found, move.thought.strip()))
    thought = _joined(found, text.strip())
    if move is None and fallback_query is not None:
        return search_turn(fallback_query, thought)
    return answer_turn(answer_in(text, otherwise="last"), thought)


def _joined(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


METHODS: dict[str, Callable[..., Method]] = {
    "direct": DirectAnswer,
    "cot": ChainOfThought,
    "rag": RetrieveOnce,
    "ragent": RAgent,
    "search-o1": SearchO1,
    "instruct": Instruct,
}
