"""The settings that the commands which play episodes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.evaluation.evaluate import DEFAULT_CONCURRENCY
from agents.specs import spec_from_text


@dataclass(frozen=True, kw_only=True)
class EpisodeSettings:
    """Settings of every episode.

    Attributes:
        seed: of every random choice.
        prompt: name or text of the environment's prompt; the language model's own, or else the
            environment's, by default.
        max_turns: actions in an episode; the environment's own by default.
        num_documents: documents in a page; the environment's own by default.
        max_document_chars: longer documents are cut; the environment's own by default.
        engine_timeout_s: seconds after which a call of the engine fails, and with it its episodes;
            the environment's own, 60, by default. A simulator on a CPU may need more.
        concurrency: episodes played at once; the results do not depend on it.
    """

    seed: int = 0
    prompt: str | None = None
    max_turns: int | None = None
    num_documents: int | None = None
    max_document_chars: int | None = None
    engine_timeout_s: float | None = None
    concurrency: int = DEFAULT_CONCURRENCY

    def env_kwargs(self) -> dict[str, Any]:
        """Return the arguments that replace the environment's defaults."""
        names = ("prompt", "max_turns", "num_documents", "engine_timeout_s")
        kwargs: dict[str, Any] = {
            name: value for name in names if (value := getattr(self, name)) is not None
        }
        if self.max_document_chars is not None:
            kwargs["limits"] = {"max_document_chars": self.max_document_chars}
        return kwargs


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(EpisodeSettings):
    """Settings of every episode, and what is played.

    Attributes:
        env: environment id.
        episodes: questions to play; all if there are fewer.
        questions: replaces the environment's: a JSON spec, a kind, or a data file.
        engine: replaces the environment's: a JSON spec, a kind, or a passage file.
    """

    env: str = "ZeroSearch-v0"
    episodes: int = 200
    questions: str | None = None
    engine: str | None = None

    def env_kwargs(self) -> dict[str, Any]:
        """Return the arguments that replace the environment's defaults."""
        specs = specs_from_flags(questions=self.questions, engine=self.engine)
        return {**EpisodeSettings.env_kwargs(self), **specs}


def specs_from_flags(*, questions: str | None, engine: str | None) -> dict[str, Any]:
    """Return the specs of the flags that are given, as arguments of an environment."""
    specs = {}
    if questions is not None:
        specs["questions"] = spec_from_text(questions, role="questions")
    if engine is not None:
        specs["engine"] = spec_from_text(engine, role="engine")
    return specs
