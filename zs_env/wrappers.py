"""Other interfaces to an episode: one text, chat messages, or tool calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import gymnasium
from gymnasium import spaces

from zs_env.env import ZeroSearchEnv
from zs_env.spaces import UnicodeText
from zs_env.text.sanitize import sanitize_open
from zs_env.text.suggestions import unknown_name
from zs_env.transcripts.transcript import Transcript

Part = Literal["transcript", "message", "question"]


class TextObservation(
    gymnasium.ObservationWrapper[str, str, dict[str, Any]], gymnasium.utils.RecordConstructorArgs
):
    """Replaces the observation by one of its texts.

    Args:
        env: an environment of this package.
        part: "transcript" (the whole episode, for a model without memory), "message" (the newest
            text, for a model with memory) or "question".

    Raises:
        ValueError: if the observation of `env` has no such text.
    """

    def __init__(self, env: gymnasium.Env[dict[str, Any], str], part: Part = "transcript") -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, part=part)
        gymnasium.ObservationWrapper.__init__(self, env)
        inner = env.observation_space
        if not isinstance(inner, spaces.Dict) or not isinstance(inner.get(part), UnicodeText):
            raise ValueError(
                f"got part {part!r} of {inner}, expected 'transcript', 'message' or 'question' of "
                "a ZeroSearch environment"
            )
        self.part = part
        self.observation_space = inner[part]

    def observation(self, observation: dict[str, Any]) -> str:
        """Return the chosen text."""
        return observation[self.part]


class ChatObservation(
    gymnasium.ObservationWrapper[Any, str, dict[str, Any]], gymnasium.utils.RecordConstructorArgs
):
    """Replaces the observation by a tuple of chat messages `{"role": ..., "content": ...}`.

    The prompt and the environment's messages have the role "user", the agent's texts "assistant".

    Args:
        env: an environment of this package.
        system: content of a system message at the start; None for no system message.

    Raises:
        TypeError: if `env` is no `ZeroSearchEnv`.
    """

    def __init__(self, env: gymnasium.Env[dict[str, Any], str], system: str | None = None) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, system=system)
        gymnasium.ObservationWrapper.__init__(self, env)
        if not isinstance(env.unwrapped, ZeroSearchEnv):
            raise TypeError(f"got {env.unwrapped}, expected a ZeroSearchEnv for ChatObservation")
        self.system = system
        longest = env.observation_space["transcript"].max_length  # type: ignore[index]
        content = UnicodeText(max(longest, len(system or "")))
        self.observation_space = spaces.Sequence(
            spaces.Dict({"role": UnicodeText(len("assistant")), "content": content})
        )

    def observation(self, observation: Mapping[str, Any]) -> tuple[dict[str, str], ...]:
        """Return the messages of the episode so far."""
        env = self.unwrapped
        assert isinstance(env, ZeroSearchEnv)
        return tuple(chat_messages(env.transcript(), system=self.system))


def chat_messages(transcript: Transcript, *, system: str | None = None) -> list[dict[str, str]]:
    """Return an episode as chat messages, whose joined contents are its text."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": transcript.prompt})
    for turn in transcript.turns:
        messages.append({"role": "assistant", "content": turn.text})
        if turn.message:
            messages.append({"role": "user", "content": turn.message})
    return messages


def _tool(name: str, description: str, required: str, **parameters: Any) -> dict[str, Any]:
    types = {key: {"type": kind, "description": text} for key, (kind, text) in parameters.items()}
    schema = {"type": "object", "properties": types, "required": [required]}
    function = {"name": name, "description": description, "parameters": schema}
    return {"type": "function", "function": function}


# Tool descriptions in the format of chat templates and OpenAI-compatible servers.
SEARCH_TOOL = _tool(
    "search",
    "Search for documents.",
    "query",
    query=("string", "What to look for, in a few words."),
)
ANSWER_TOOL = _tool(
    "answer",
    "Give the final answer and stop.",
    "text",
    text=("string", "The answer, as short as can be."),
)
TOOLS = [SEARCH_TOOL, ANSWER_TOOL]
# For environments with the tool "open".
OPEN_TOOL = _tool(
    "open",
    "Read a document of the last page in full.",
    "document",
    document=("integer", "The number of the document on the last page."),
    part=("integer", "The part of a long document, from 1."),
)
_ARGUMENTS = {"search": "query", "answer": "text"}


def action_text(name: str, arguments: Mapping[str, Any]) -> str:
    """Return the action text of a tool call.

    Texts are sanitized, so that a tag in a query has no effect.

    Args:
        name: "search", "open" or "answer".
        arguments: `query`, `document` and optionally `part` (integers, at least 0), or `text`.

    Raises:
        ValueError: if the tool or an argument is unknown, or an argument is missing or has another
            type.
    """
    if name == "open":
        numbers = {"part": 1, **arguments}
        if set(numbers) != {"document", "part"} or not all(map(_is_number, numbers.values())):
            raise ValueError(
                f"open() takes the integers 'document' and 'part', from 1; got {dict(arguments)!r}"
            )
        return f"<open>{numbers['document']} p{numbers['part']}</open>"
    if name not in _ARGUMENTS:
        raise unknown_name("tool", name, [*_ARGUMENTS, "open"])
    argument = _ARGUMENTS[name]
    value = arguments.get(argument)
    if set(arguments) != {argument} or not isinstance(value, str):
        raise ValueError(f"{name}() takes one string, {argument!r}; got {dict(arguments)!r}")
    return f"<{name}>{sanitize_open(value)}</{name}>"


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class ToolCalls:
    """Plays episodes through the tools `search(query)` and `answer(text)`.

    In an environment with the tool "open", also `open(document, part)`.
    For models that were trained to call functions. The tools return the environment's message
    without white space around it. Their errors are those of `call`.

    Args:
        env: an environment of this package with its `Dict` observation, wrapped or not.

    Attributes:
        reward: sum of the episode's rewards so far.
        finished: whether the episode is over; a further call raises ResetNeeded.
        info: the last info of the environment.
    """

    def __init__(self, env: gymnasium.Env[dict[str, Any], str]) -> None:
        self._env = env
        self.reward = 0.0
        self.finished = True
        self.info: dict[str, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> str:
        """Start an episode and return its question; see `zs_env.ZeroSearchEnv.reset`."""
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

    def open(self, document: int, part: int = 1) -> str:
        """Read a document of the last page in full.

        Args:
            document: The number of the document on the last page.
            part: The part of a long document, from 1.

        Returns:
            The text of the document, or why there is none.
        """
        return self.call("open", {"document": document, "part": part})

    def answer(self, text: str) -> str:
        """Give the final answer and stop.

        Args:
            text: The answer, as short as can be.

        Returns:
            An empty text if the answer was accepted.
        """
        return self.call("answer", {"text": text})

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Execute a tool call and return the environment's message.

        Raises:
            ResetNeeded: if the episode is over.
            ValueError: as `action_text` does.
        """
        return self.act(action_text(name, arguments))

    def act(self, text: str) -> str:
        """Take a turn with a text and return the environment's message.

        A text that is not empty is for agents that also write tags; "" is a turn without an action.

        Raises:
            ResetNeeded: if the episode is over.
        """
        if self.finished:
            raise gymnasium.error.ResetNeeded("the episode is over; call reset() before a tool")
        observation, reward, terminated, truncated, self.info = self._env.step(text)
        self.reward += float(reward)
        self.finished = terminated or truncated
        return observation["message"].strip()
