"""Chance: an agent that searches and answers with random words of what it has read."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

_WORD = re.compile(r"\w[\w'-]*")


class RandomWords:
    """Searches 1 to 4 random words of the question, answers 1 to 3 neighbouring words it has read.

    Args:
        answer_probability: chance that a turn answers.
        malformed_probability: chance that a turn does neither.
    """

    def __init__(self, answer_probability: float = 0.4, malformed_probability: float = 0.1) -> None:
        self.answer_probability = answer_probability
        self.malformed_probability = malformed_probability
        self._random = random.Random(0)

    def reset(self, seed: int) -> None:
        """Start an episode; the same seed gives the same episode."""
        self._random = random.Random(seed)

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return a search, an answer, or a text without an action."""
        luck = self._random
        asked = _WORD.findall(observation["question"]) or ["nothing"]
        chance = luck.random()
        if chance < self.malformed_probability:
            return luck.choice(asked)
        if chance < self.malformed_probability + self.answer_probability:
            read = _WORD.findall(" ".join(observation["documents"])) or asked
            first, length = luck.randrange(len(read)), luck.randint(1, 3)
            return f"<answer>{' '.join(read[first : first + length])}</answer>"
        query = luck.sample(asked, min(len(asked), luck.randint(1, 4)))
        return f"<search>{' '.join(query)}</search>"
