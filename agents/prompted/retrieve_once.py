"""RAG: one search for the question as it stands, then an answer from that page.

Source: Lewis et al. (arXiv:2005.11401), with a prompt in place of training.
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
    "Answer the question with the help of documents that a search engine found, in as few words as "
    "you can, not in a sentence. Some documents may be of no use. If they do not tell, guess.\n\n"
    "{documents}\n\nQuestion: {question}\nAnswer:"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieveOnce:
    """Searches the question, then asks for the answer beside the documents."""

    def step(self, observation: Mapping[str, Any]) -> Step:
        """Return what to do, from the observation alone."""
        question = observation["question"]
        if is_first(observation):
            return search_turn(question)
        documents = [document for document in observation["documents"] if document]
        lines = [f"Doc {rank}: {document}" for rank, document in enumerate(documents, start=1)]
        return Ask(
            PROMPT.format(documents="\n".join(lines) or "(none)", question=question),
            lambda text: answer_turn(answer_in(text, otherwise="first")),
        )
