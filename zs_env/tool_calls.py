"""An episode played through two tools, `search(query)` and `answer(text)`.

For models that were taught to call functions. The arguments are taken as plain words: a tag inside
a query does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from zs_env.config.names import unknown_name
from zs_env.text.sanitize import sanitize


def _tool(name: str, about: str, argument: str, meaning: str) -> dict[str, Any]:
    properties = {argument: {"type": "string", "description": meaning}}
    parameters = {"type": "object", "properties": properties, "required": [argument]}
    return {
        "type": "function",
        "function": {"name": name, "description": about, "parameters": parameters},
    }


# The form that chat templates and OpenAI-compatible servers take.
TOOLS: list[dict[str, Any]] = [
    _tool("search", "Search for documents.", "query", "What to look for, in a few words."),
    _tool("answer", "Give the final answer and stop.", "text", "The answer, as short as can be."),
]
_ARGUMENTS = {"search": "query", "answer": "text"}


def action_text(name: str, arguments: Mapping[str, Any]) -> str:
    """Return the action that a tool call stands for.

    Raises:
        ValueError: if the tool or its argument is unknown, missing or not a string.
    """
    if name not in _ARGUMENTS:
        raise unknown_name("tool", name, _ARGUMENTS)
    argument = _ARGUMENTS[name]
    value = arguments.get(argument)
    if set(arguments) != {argument} or not isinstance(value, str):
        raise ValueError(f"{name}() takes one string, {argument!r}; got {dict(arguments)!r}")
    return f"<{name}>{sanitize(value)}</{name}>"


class ToolCalls:
    """Drives an environment by tool calls.

    Args:
        env: an environment of this package, wrapped or not, whose observation is its own dict.

    Attributes:
        reward: reward of the episode so far.
        finished: whether it is over; further calls are refused.
        info: the environment's last info.
    """

    def __init__(self, env: gymnasium.Env[dict[str, Any], str]) -> None:
        self._env = env
        self.reward = 0.0
        self.finished = True
        self.info: dict[str, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> str:
        """Start another episode and return its question."""
        observation, self.info = self._env.reset(seed=seed, options=options)
        self.reward, self.finished = 0.0, False
        return observation["question"]

    def search(self, query: str) -> str:
        """Search for documents.

        Args:
            query: What to look for, in a few words.

        Returns:
            The documents found, or why there are none.
        """
        return self.call("search", {"query": query})

    def answer(self, text: str) -> str:
        """Give the final answer and stop.

        Args:
            text: The answer, as short as can be.

        Returns:
            An empty text, where the answer was taken.
        """
        return self.call("answer", {"text": text})

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Carry out a call and return what the environment says to it.

        Raises:
            ResetNeeded: if the episode is over.
            ValueError: if there is no such tool, or it takes other arguments.
        """
        action = action_text(name, arguments)
        if self.finished:
            raise gymnasium.error.ResetNeeded("the episode is over; call reset() before a tool")
        observation, reward, terminated, truncated, self.info = self._env.step(action)
        self.reward += float(reward)
        self.finished = terminated or truncated
        return observation["message"].strip()
