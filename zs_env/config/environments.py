"""Environments from JSON values: the entry points of the registered ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zs_env.config.engines import build_engine
from zs_env.config.questions import WORLD, build_questions, world_of
from zs_env.config.spec import Spec
from zs_env.env import ZeroSearchEnv
from zs_env.episode import Limits
from zs_env.questions.question import QuestionDataset
from zs_env.rewards import build_reward
from zs_env.search.engine import SearchEngine
from zs_env.text.suggestions import check_names, keywords, make_named
from zs_env.vector_env import ZeroSearchVectorEnv


def make_env(
    questions: QuestionDataset | Spec = WORLD,
    engine: SearchEngine | Spec | None = None,
    **settings: Any,
) -> ZeroSearchEnv:
    """Build an environment.

    Args:
        questions: questions or their spec.
        engine: an engine or its spec. None selects the world's engine for world questions and is
            an error for other questions.
        settings: further arguments of `ZeroSearchEnv`. `reward` may be a preset's name or a
            mapping, `limits` a mapping.

    Raises:
        ValueError: if a kind, a field or a value is wrong.
    """
    dataset, built, settings = _build_arguments(ZeroSearchEnv, questions, engine, settings)
    return ZeroSearchEnv(dataset, built, **settings)


def make_vector_env(
    num_envs: int = 1,
    questions: QuestionDataset | Spec = WORLD,
    engine: SearchEngine | Spec | None = None,
    **settings: Any,
) -> ZeroSearchVectorEnv:
    """Build a vector environment; see `make_env`."""
    dataset, built, settings = _build_arguments(ZeroSearchVectorEnv, questions, engine, settings)
    return ZeroSearchVectorEnv(num_envs, dataset, built, **settings)


def _build_arguments(
    env_class: type,
    questions: QuestionDataset | Spec,
    engine: SearchEngine | Spec | None,
    settings: Mapping[str, Any],
) -> tuple[QuestionDataset, SearchEngine, dict[str, Any]]:
    settings = dict(settings)
    check_names("setting", settings, keywords(ZeroSearchEnv) | keywords(env_class))
    dataset = build_questions(questions) if isinstance(questions, Mapping) else questions
    if engine is None:
        if world_of(dataset) is None:
            raise ValueError(
                "these questions have no default engine; pass an engine, such as "
                "{'kind': 'bm25', 'passages': FILE} for a passage file, {'kind': 'paragraphs'} for "
                "questions with paragraphs, or {'kind': 'none'}"
            )
        engine = {"kind": "world"}
    if isinstance(engine, Mapping):
        engine = build_engine(engine, dataset)
        settings.setdefault("owns_engine", True)
    if isinstance(settings.get("reward"), str | Mapping):
        settings["reward"] = build_reward(settings["reward"])
    if isinstance(settings.get("limits"), Mapping):
        settings["limits"] = make_named("limit", Limits, settings["limits"])
    return dataset, engine, settings
