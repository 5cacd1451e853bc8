"""The interface of the methods of prompted agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for a completion.

    Attributes:
        prompt: the user's message.
        then: returns the next step for the completion.
    """

    prompt: str
    then: Callable[[str], Step]


# The text of the action, or a request for a completion before it.
Step = str | Ask


class Method(Protocol):
    """Answers questions with a language model.

    A method is a frozen dataclass of its settings: its `repr` is part of the agent's fingerprint.
    """

    def step(self, observation: Mapping[str, Any]) -> Step:
        """Return the next step, which depends only on the observation."""
        ...
