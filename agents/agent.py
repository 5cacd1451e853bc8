"""What acts: an agent reads an observation and writes a text.

Only `act` is needed. The rest of what an agent may have is looked for by name, so that a plain
class of ten lines is an agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Agent(Protocol):
    """Writes a text that searches, answers, or does neither.

    An agent may also have:

    - `reset(seed: int)`: called at the start of every episode. Such an agent keeps the state of
      one episode; each of several concurrent episodes is played by a copy of its own.
    - `act_batch(observations) -> list[str]`: acts in several episodes at once. It must depend on
      the observations alone, for it is not told which episode is whose.
    - `stream(observation, show) -> str`: acts as `act` does, and calls `show` with each piece of
      the text once it is written; `zerosearch ask` shows them.
    - `fingerprint: str`: changes when the agent does; a recorded evaluation is continued only by
      an agent with the same one.
    - `prompt: str | None`: name or text of the environment's prompt that it is used to;
      `zerosearch evaluate` plays it under that one.
    """

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return the text to act with; see `zs_env.observations.Observation` for what is read."""
        ...
