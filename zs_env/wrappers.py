"""Other views of the same episode: one string, or a list of chat messages.

The messages show the same words as the transcript; only their sides are marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import gymnasium
from gymnasium import spaces

from zs_env.env import ZeroSearchEnv
from zs_env.spaces import UnicodeText
from zs_env.transcripts.transcript import Transcript

Part = Literal["transcript", "message", "question"]


class TextObservation(
    gymnasium.ObservationWrapper[str, str, dict[str, Any]], gymnasium.utils.RecordConstructorArgs
):
    """Shows one text of the observation instead of all.

    Args:
        env: an environment of this package.
        part: "transcript" (everything so far, what a stateless model is fed), "message" (what is
            new, for a model that remembers) or "question".
    """

    def __init__(self, env: gymnasium.Env[dict[str, Any], str], part: Part = "transcript") -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, part=part)
        gymnasium.ObservationWrapper.__init__(self, env)
        inner = env.observation_space
        if not isinstance(inner, spaces.Dict) or not isinstance(inner.get(part), UnicodeText):
            raise ValueError(
                f"part is 'transcript', 'message' or 'question' of a ZeroSearch environment, got "
                f"{part!r} of {inner}"
            )
        self.part = part
        self.observation_space = inner[part]

    def observation(self, observation: dict[str, Any]) -> str:
        """Return the chosen text."""
        return observation[self.part]


class ChatObservation(
    gymnasium.ObservationWrapper[Any, str, dict[str, Any]], gymnasium.utils.RecordConstructorArgs
):
    """Shows the episode as a tuple of chat messages `{"role": ..., "content": ...}`.

    The prompt and what the environment says are the user's, the agent's texts the assistant's.

    Args:
        env: an environment of this package.
        system: content of a system message put first; none where None.
    """

    def __init__(self, env: gymnasium.Env[dict[str, Any], str], system: str | None = None) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, system=system)
        gymnasium.ObservationWrapper.__init__(self, env)
        if not isinstance(env.unwrapped, ZeroSearchEnv):
            raise TypeError(f"ChatObservation wraps a ZeroSearchEnv, got {env.unwrapped}")
        self.system = system
        longest = env.observation_space["transcript"].max_length  # type: ignore[index]
        content = UnicodeText(max(longest, len(system or "")))
        self.observation_space = spaces.Sequence(
            spaces.Dict({"role": UnicodeText(len("assistant")), "content": content})
        )

    def observation(self, observation: Mapping[str, Any]) -> tuple[dict[str, str], ...]:
        """Return all messages so far."""
        env = self.unwrapped
        assert isinstance(env, ZeroSearchEnv)
        return tuple(chat_messages(env.transcript(), system=self.system))


def chat_messages(transcript: Transcript, *, system: str | None = None) -> list[dict[str, str]]:
    """Return an episode as chat messages; their contents together are its text."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": transcript.prompt})
    for turn in transcript.turns:
        messages.append({"role": "assistant", "content": turn.text})
        if turn.message:
            messages.append({"role": "user", "content": turn.message})
    return messages
