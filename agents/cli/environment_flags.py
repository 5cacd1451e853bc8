"""The flags that say where agents play, shared by the commands that play them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.evaluation.play_settings import PlaySettings
from agents.specs import spec_from_text


@dataclass(frozen=True, kw_only=True)
class EnvironmentFlags(PlaySettings):
    """Where agents play, and how often.

    Attributes:
        env: environment id.
        episodes: questions to play; all where there are fewer.
        questions: in place of the environment's: a JSON spec, a kind, or a data file.
        engine: in place of the environment's: a JSON spec, a kind, or a passage file.
    """

    env: str = "ZeroSearch-v0"
    episodes: int = 200
    questions: str | None = None
    engine: str | None = None

    def env_kwargs(self) -> dict[str, Any]:
        """Return what is passed to the environment in place of its own."""
        given = PlaySettings.env_kwargs(self)
        if self.questions is not None:
            given["questions"] = spec_from_text(self.questions, role="questions")
        if self.engine is not None:
            given["engine"] = spec_from_text(self.engine, role="engine")
        return given
