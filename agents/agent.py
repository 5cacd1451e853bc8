"""The Agent protocol.

Only `act` is required. Further attributes are looked up by name, so a plain class is an agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class AgentFailure(Exception):
    """The agent could not act, because of its model or server, not because of its behaviour.

    `act` raises it; `act_batch` returns it in place of a text. The episode ends as failed, as after
    a failure of the search engine, and has no score.
    """


class Agent(Protocol):
    """Chooses the next action of an episode, as text.

    Optional attributes:

    - `reset(seed: int)`: called at the start of every episode. Such an agent keeps the state of
      one episode; each of several concurrent episodes gets its own copy of the agent.
    - `act_batch(observations, infos) -> list[str | AgentFailure]`: acts in several episodes at
      once; it replaces `act` in evaluations. `infos` are the environment's; `episode_id`
      identifies an episode.
    - `stream(observation, info, show) -> str`: like `act`, and calls `show` with each piece of the
      text as it is generated. `zerosearch ask` uses it.
    - `fingerprint: str`: changes if the agent changes. An interrupted evaluation is continued only
      with the same fingerprint.
    - `env_settings: Mapping[str, Any]`: arguments of the environment that the agent was trained
      with, such as `{"prompt": "bare", "max_turns": 4}`. The commands that play an agent adopt
      them, see `agents.evaluation.settings.adopt_settings`.
    - `use_tools(tools: Sequence[str])`: called by these commands, before any episode, with the
      tools that the agent has in the environment, unless they are the environment's default.
    - `prompt: str | None`: name or text of the environment's prompt, if nothing else is known.
    """

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return the action; `zs_env.ZeroSearchEnv` documents the observation.

        Raises:
            AgentFailure: if the agent could not act.
        """
        ...
