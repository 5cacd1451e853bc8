"""Chain of thought: reasoning from memory before the answer.

Source: Wei et al. (arXiv:2201.11903) and, without examples as here, Kojima et al.
(arXiv:2205.11916).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.prompted.free_text import answer_in
from agents.prompted.method import Ask, Step
from agents.prompted.turn_text import answer_turn

PROMPT = (
    "Answer the question from your own knowledge. First reason step by step in a few sentences. "
    'Then write one line that starts with "Answer:", followed by the answer in as few words as '
    "possible. If you are not sure, guess.\n\n"
    "Question: {question}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainOfThought:
    """Requests reasoning and an answer in one text. The whole text becomes the thought."""

    def step(self, observation: Mapping[str, Any]) -> Step:
        """Return the next step, which depends only on the observation."""
        return Ask(
            PROMPT.format(question=observation["question"]),
            lambda text: answer_turn(answer_in(text, otherwise="last"), text),
        )
