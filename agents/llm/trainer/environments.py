"""The environments of a run: one to train in, and held-out ones to be judged in.

They are made from the environment id and the JSON specs that its flags override, so the record of
a run says what they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, VectorEnv

from agents.llm.policy.policy import Policy
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.self_search import with_policy_as_generator
from agents.specs import held_out_questions, rewritten, spec_from_text
from envs_registry import find_preset
from zs_env.config import build_questions
from zs_env.questions.question import QuestionDataset
from zs_env.search.types import SearchCost

Spec = dict[str, Any]


def training_environment(config: TrainConfig, num_envs: int, policy: Policy) -> VectorEnv:
    """The environment that rollouts are collected in; the policy may be its engine's generator."""
    engine = with_policy_as_generator(_with_ledger(_training_engine(config), config), policy)
    return _make(config, num_envs, _training_questions(config), engine)


def training_questions(config: TrainConfig) -> QuestionDataset:
    """The questions of the training environment, to look at before they are asked."""
    return build_questions(_training_questions(config))


def held_out_environment(config: TrainConfig, num_envs: int, policy: Policy) -> VectorEnv:
    """Held-out questions, answered by an engine of the kind that training uses.

    Raises:
        ValueError: if nobody says which questions are held out.
    """
    engine = with_policy_as_generator(_with_ledger(_held_out_engine(config), config), policy)
    return _make(config, num_envs, _held_out_questions(config), engine)


def real_engine_environment(config: TrainConfig, num_envs: int) -> VectorEnv | None:
    """Held-out questions, answered by the real search engine; None where there is none."""
    questions = _held_out_questions(config)
    if config.real_engine is not None:
        engine = spec_from_text(config.real_engine, role="engine", flag="real-engine")
        return _make(config, num_envs, questions, _with_ledger(engine, config))
    if asks_about_world(config):
        # BM25 over all that is true in the world of the held-out questions.
        return _make(config, num_envs, questions, {"kind": "bm25"})
    return None


def asks_about_world(config: TrainConfig) -> bool:
    """Whether the held-out questions are about a fictional world."""
    return _held_out_questions(config)["kind"] == "world"


def num_questions(environment: VectorEnv) -> int:
    """Questions of an environment's set."""
    return environment.unwrapped.num_questions  # type: ignore[attr-defined]


def search_costs(environment: VectorEnv) -> SearchCost:
    """What an environment's searches have cost so far; more can be added to it."""
    return environment.unwrapped.costs  # type: ignore[attr-defined]


def _make(config: TrainConfig, num_envs: int, questions: Spec, engine: Spec | None) -> VectorEnv:
    settings: dict[str, Any] = {
        "max_turns": config.max_turns,
        "num_documents": config.num_documents,
        "noise_draw": config.noise_draw,
        "engine_timeout_s": config.engine_timeout_s,
        "limits": {"max_document_chars": config.max_document_chars},
    }
    for name in ("prompt", "reward"):
        if getattr(config, name) is not None:
            settings[name] = getattr(config, name)
    return gymnasium.make_vec(
        config.env,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=AutoresetMode.DISABLED,
        questions=questions,
        engine=engine,
        **settings,
    )


def _with_ledger(spec: Spec | None, config: TrainConfig) -> Spec | None:
    """Give each meter that has none the run's own ledger, so that all share one budget."""
    own = {"path": str(config.output / "ledger.jsonl")}
    return rewritten(spec, lambda one: {**own, **one} if one.get("kind") == "metered" else one)


def _preset(config: TrainConfig) -> Mapping[str, Any]:
    if config.env in gymnasium.registry:
        return gymnasium.spec(config.env).kwargs
    return find_preset(config.env).kwargs


def _training_questions(config: TrainConfig) -> Spec:
    if config.questions is not None:
        return spec_from_text(config.questions, role="questions")
    return dict(_preset(config)["questions"])


def _training_engine(config: TrainConfig) -> Spec | None:
    if config.engine is not None:
        return spec_from_text(config.engine, role="engine")
    engine = _preset(config)["engine"]
    about_world = _training_questions(config)["kind"] == "world"
    # A world answers nothing but what is asked about it.
    return engine if engine is None or engine["kind"] != "world" or about_world else None


def _held_out_questions(config: TrainConfig) -> Spec:
    return held_out_questions(_training_questions(config), config.eval_questions)


def _held_out_engine(config: TrainConfig) -> Spec | None:
    if config.eval_engine is not None:
        return spec_from_text(config.eval_engine, role="engine", flag="eval-engine")
    return _training_engine(config)
