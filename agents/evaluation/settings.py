"""The settings that the commands which play episodes share."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gymnasium.envs.registration import load_env_creator

from agents.agent import Agent
from agents.evaluation.evaluate import DEFAULT_CONCURRENCY
from agents.noise_kinds import NoiseKindsFlag
from agents.prompt_limits import PromptLimits
from agents.specs import env_spec, spec_from_text
from agents.storage.output_folder import FreshFlag
from agents.tool_flags import ToolsFlag
from zs_env.text.paths import expand_paths


@dataclass(frozen=True, kw_only=True)
class EpisodeSettings(PromptLimits, NoiseKindsFlag, ToolsFlag, FreshFlag):
    """Settings of every episode.

    Attributes:
        seed: of every random choice.
        prompt: name or text of the environment's prompt; by default, as for the next three flags,
            what the agent was trained with, and the environment's own if that is unknown. It
            overrides the prompts of questions that have their own.
        max_turns: actions in an episode.
        num_documents: documents in a page.
        max_document_chars: length of a document, in characters; longer ones are cut.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        self.noise_settings()
        self.tool_settings()
        expand_paths(self)

    def env_kwargs(self) -> dict[str, Any]:
        """Return the arguments that replace the environment's defaults."""
        names = ("prompt", "max_turns", "num_documents", "engine_timeout_s")
        kwargs: dict[str, Any] = {
            name: value for name in names if (value := getattr(self, name)) is not None
        }
        limits = self.prompt_limits()
        if self.max_document_chars is not None:
            limits["max_document_chars"] = self.max_document_chars
        if limits:
            kwargs["limits"] = limits
        return kwargs | self.noise_settings() | self.tool_settings()


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


def specs_from_flags(
    *, questions: str | None, engine: str | None, limits: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the specs and limits of the flags that are given, as arguments of an environment."""
    specs: dict[str, Any] = {"limits": dict(limits)} if limits else {}
    if questions is not None:
        specs["questions"] = spec_from_text(questions, role="questions")
    if engine is not None:
        specs["engine"] = spec_from_text(engine, role="engine")
    return specs


def adopt_settings(
    agent: Agent, env_kwargs: Mapping[str, Any], *, env_id: str | None = None
) -> tuple[dict[str, Any], str | None]:
    """Complete the arguments of an environment by those that the agent was trained with.

    Args:
        agent: its `env_settings`, or else its `prompt`, are adopted. Its `use_tools` is called
            with the tools of the result, if there are any.
        env_kwargs: arguments that were asked for; they override those of the agent.
        env_id: id of the environment. What the environment does not accept is not adopted.

    Returns:
        The arguments, and a line that names the adopted ones; None if there are none.
    """
    prompt = getattr(agent, "prompt", None)
    known = getattr(agent, "env_settings", None) or ({} if prompt is None else {"prompt": prompt})
    kwargs, adopted = dict(env_kwargs), dict[str, Any]()
    for name, value in known.items():
        if not _accepts(env_id, name):
            continue
        if isinstance(value, Mapping):  # limits
            given = dict(kwargs.get(name) or {})
            adopted |= {key: held for key, held in value.items() if key not in given}
            kwargs[name] = {**value, **given}
        elif name not in kwargs:
            adopted[name] = kwargs[name] = value
    if "tools" in kwargs and hasattr(agent, "use_tools"):
        agent.use_tools(kwargs["tools"])  # type: ignore[attr-defined]
    if not adopted:
        return kwargs, None
    shown = ", ".join(f"{name} {value!r}" for name, value in adopted.items())
    source = getattr(agent, "name", "") or type(agent).__name__
    return kwargs, f"{source} was trained with these settings, which are adopted: {shown}"


def _accepts(env_id: str | None, name: str) -> bool:
    """Whether an environment accepts an argument."""
    if env_id is None:
        return True
    entry_point = env_spec(env_id).entry_point
    create = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    parameters = inspect.signature(create).parameters if create is not None else {}
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return takes_any or name in parameters
