"""An agent that searches and answers with random words of its observations."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

_WORD = re.compile(r"\w[\w'-]*")


class RandomWords:
    """Searches 1 to 4 random words of the question, answers 1 to 3 adjacent words of a page.

    Args:
        answer_probability: probability of an answer in a turn.
        malformed_probability: probability of neither a search nor an answer.
    """

    def __init__(self, answer_probability: float = 0.4, malformed_probability: float = 0.1) -> None:
        self.answer_probability = answer_probability
        self.malformed_probability = malformed_probability
        self._random = random.Random(0)

    def reset(self, seed: int) -> None:
        """Start an episode; the same seed gives the same actions."""
        self._random = random.Random(seed)

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return a search, an answer, or a text without an action."""
        rng = self._random
        question = _WORD.findall(observation["question"]) or ["nothing"]
        draw = rng.random()
        if draw < self.malformed_probability:
            return rng.choice(question)
        if draw < self.malformed_probability + self.answer_probability:
            words = _WORD.findall(" ".join(observation["documents"])) or question
            first, length = rng.randrange(len(words)), rng.randint(1, 3)
            return f"<answer>{' '.join(words[first : first + length])}</answer>"
        query = rng.sample(question, min(len(question), rng.randint(1, 4)))
        return f"<search>{' '.join(query)}</search>"
