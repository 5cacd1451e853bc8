"""Direct answer: from memory, without searches and without reasoning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.prompted.free_text import answer_in
from agents.prompted.method import Ask, Step
from agents.prompted.turn_text import answer_turn

# No example: a small model copies the answer of an example.
PROMPT = (
    "Answer the question from your own knowledge. Use as few words as possible, not a sentence. If "
    "you are not sure, guess.\n\n"
    "Question: {question}\nAnswer:"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectAnswer:
    """Requests the answer. The first line of the completion is the answer."""

    def step(self, observation: Mapping[str, Any]) -> Step:
        """Return the next step, which depends only on the observation."""
        return Ask(
            PROMPT.format(question=observation["question"]),
            lambda text: answer_turn(answer_in(text, otherwise="first")),
        )
