"""RAG: one search with the question as the query, then an answer from the documents.

Source: Lewis et al. (arXiv:2005.11401), with a prompt instead of training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.prompted.free_text import answer_in
from agents.prompted.history import is_first
from agents.prompted.method import Ask, Step
from agents.prompted.turn_text import answer_turn, search_turn

PROMPT = (
    "Answer the question with the documents from a search engine. Use as few words as possible, "
    "not a sentence. Some documents may be irrelevant. If they do not contain the answer, "
    "guess.\n\n"
    "{documents}\n\nQuestion: {question}\nAnswer:"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieveOnce:
    """Searches for the question, then requests the answer with the documents in the prompt."""

    def step(self, observation: Mapping[str, Any]) -> Step:
        """Return the next step, which depends only on the observation."""
        question = observation["question"]
        if is_first(observation):
            return search_turn(question)
        documents = [document for document in observation["documents"] if document]
        lines = [f"Doc {rank}: {document}" for rank, document in enumerate(documents, start=1)]
        return Ask(
            PROMPT.format(documents="\n".join(lines) or "(none)", question=question),
            lambda text: answer_turn(answer_in(text, otherwise="first")),
        )
