"""Environments from JSON values: the entry points of the registered ids."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from zs_env.config.engines import GENERATOR_KINDS, build_engine
from zs_env.config.questions import WORLD, build_questions, world_of
from zs_env.config.spec import Spec, as_spec, check_spec, import_named
from zs_env.env import ZeroSearchEnv
from zs_env.episode import Limits
from zs_env.questions.question import QuestionDataset, check_questions
from zs_env.rewards import RewardFunction, build_reward
from zs_env.search.engine import SearchEngine
from zs_env.text.suggestions import check_names, keywords, make_named
from zs_env.vector_env import ZeroSearchVectorEnv


def make_env(
    questions: QuestionDataset | Spec | str = WORLD,
    engine: SearchEngine | Spec | str | None = None,
    **settings: Any,
) -> ZeroSearchEnv:
    """Build an environment.

    Args:
        questions: questions or their spec, or a text or path that stands for a spec, as on a
            command line: "questions.jsonl".
        engine: an engine, its spec, or a text or path: "passages.jsonl". None selects the world's
            engine for world questions and is an error for other questions.
        settings: further arguments of `ZeroSearchEnv`. `reward` may be what `reward_from_text`
            reads, `limits` a mapping.

    Raises:
        ValueError: if a kind, a field or a value is wrong.
    """
    dataset, built, settings = _build_arguments(ZeroSearchEnv, questions, engine, settings)
    return ZeroSearchEnv(dataset, built, **settings)


def make_vector_env(
    num_envs: int = 1,
    questions: QuestionDataset | Spec | str = WORLD,
    engine: SearchEngine | Spec | str | None = None,
    **settings: Any,
) -> ZeroSearchVectorEnv:
    """Build a vector environment; see `make_env`."""
    dataset, built, settings = _build_arguments(ZeroSearchVectorEnv, questions, engine, settings)
    return ZeroSearchVectorEnv(num_envs, dataset, built, **settings)


def _build_arguments(
    env_class: type,
    questions: QuestionDataset | Spec | str,
    engine: SearchEngine | Spec | str | None,
    settings: Mapping[str, Any],
) -> tuple[QuestionDataset, SearchEngine, dict[str, Any]]:
    settings = dict(settings)
    check_names("setting", settings, keywords(ZeroSearchEnv) | keywords(env_class))
    dataset: Any = as_spec(questions, "questions")
    built: Any = as_spec(engine, "engine")
    if isinstance(dataset, Mapping):
        dataset = build_questions(dataset)
    check_questions(dataset)
    if built is None:
        if world_of(dataset) is None:
            raise ValueError(
                "these questions have no default engine; pass an engine, such as "
                "{'kind': 'bm25', 'passages': FILE} for a passage file, {'kind': 'paragraphs'} for "
                "questions with paragraphs, or {'kind': 'none'}"
            )
        built = {"kind": "world"}
    if isinstance(built, Mapping):
        built = build_engine(built, dataset)
        settings.setdefault("owns_engine", True)
    if isinstance(settings.get("reward"), str | Mapping):
        settings["reward"] = reward_from_text(settings["reward"])
    if isinstance(settings.get("limits"), Mapping):
        settings["limits"] = make_named("limit", Limits, settings["limits"])
    return dataset, built, settings


def check_reward(value: str | Mapping[str, Any]) -> None:
    """Check a reward from a user without building the model of its judge.

    Raises:
        ValueError: as `reward_from_text`.
    """
    from zs_env.simulator.generators.base import TextGenerator

    value = reward_spec(value)
    if isinstance(value, Mapping) and isinstance(value.get("judge"), Mapping):
        generator = as_spec(value["judge"].get("generator"), "generator")
        if isinstance(generator, Mapping):
            check_spec("generator kind", GENERATOR_KINDS, generator)
            value = {**value, "judge": {**value["judge"], "generator": TextGenerator()}}
    reward_from_text(value)


def reward_spec(value: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
    """Return a reward from a user with JSON read; ValueError if it is not valid."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"the reward is not valid JSON ({error}): {value}") from error


def reward_from_text(value: str | Mapping[str, Any]) -> RewardFunction:
    """Return the reward function of a value from a user.

    Args:
        value: a preset's name; a mapping as `build_reward` takes it, or its JSON; or "module:name"
            of a reward function, or of a class, whose instance is one.

    Raises:
        ValueError: if the value has another form, or a name in it is unknown.
    """
    value = reward_spec(value)
    if isinstance(value, Mapping) or ":" not in value:
        return build_reward(value)
    found = import_named("reward", value)
    reward = found() if isinstance(found, type) else found
    if not callable(reward):
        raise ValueError(
            f"reward {value!r} is {reward!r}, expected a function from a transcript to named terms"
        )
    return cast(RewardFunction, reward)
