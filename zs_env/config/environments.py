"""Environments from JSON values: the entry points of the registered ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zs_env.config.engines import build_engine
from zs_env.config.questions import WORLD, build_questions, world_of
from zs_env.config.spec import Spec, as_spec
from zs_env.env import ZeroSearchEnv
from zs_env.episode import Limits
from zs_env.questions.question import QuestionDataset, check_questions
from zs_env.rewards import build_reward
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
        settings: further arguments of `ZeroSearchEnv`. `reward` may be a preset's name or a
            mapping, `limits` a mapping.

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
        settings["reward"] = build_reward(settings["reward"])
    if isinstance(settings.get("limits"), Mapping):
        settings["limits"] = make_named("limit", Limits, settings["limits"])
    return dataset, built, settings
