"""The environments of a run: one for training, and held-out ones for evaluation.

They are made from the environment id and the specs in the settings, so the recorded settings of a
run describe them completely.

Self-search: in a simulator's spec the text generator `{"kind": "policy"}` is the policy in training
with its current weights (SSRL, arXiv:2508.10874). Fields: `sampling`, `batch_size`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agents.env_pool import open_vector
from agents.llm.generators import KINDS
from agents.llm.policy.location import find_model
from agents.llm.trainer.config import EnvironmentConfig, TrainConfig, env_settings
from agents.specs import (
    default_spec,
    env_spec,
    held_out_questions,
    rewritten,
    served_models,
    spec_from_text,
)
from zs_env.config import WORLD, build_sampling, check_engine, check_questions_spec
from zs_env.config.environments import check_reward, reward_spec
from zs_env.config.spec import as_spec
from zs_env.noise import check_noise
from zs_env.prompts import PromptTemplate
from zs_env.text.suggestions import check_names, make_named
from zs_env.vector_env import ZeroSearchVectorEnv
from zs_env.world import PAGE_STRUCTURES, STRUCTURES

if TYPE_CHECKING:
    from agents.llm.policy.policy import Policy

Spec = dict[str, Any]
_POLICY_KIND = "policy"


def check_config(config: TrainConfig) -> None:
    """Check everything that the settings name, before torch is imported and the policy is loaded.

    Raises:
        ValueError: if a name, a kind or a field is unknown.
        ConnectionError: if a server cannot be reached.
        FileNotFoundError: if a data file does not exist.
        gymnasium.error.Error: if there is no such environment.
    """
    environment = config.environment
    env_spec(environment.env)
    check_questions_spec(training_questions(environment))
    check_questions_spec(_held_out_questions(environment))
    for engine in (_training_engine(environment), environment.eval_engine, environment.real_engine):
        if engine is not None:
            spec = as_spec(engine, "engine")
            check_engine(spec, generators=(_POLICY_KIND,))
            served_models(spec)
    if environment.reward is not None:
        check_reward(environment.reward)
        served_models(reward_spec(environment.reward))
    if environment.prompt is not None:
        PromptTemplate.of(environment.prompt)
    generator = spec_from_text(config.generation.generator or KINDS[0], role="generator")
    check_names("kind of --generator", [generator["kind"]], KINDS)
    served_models(generator)
    if training_questions(environment)["kind"] == "world":
        known = (*STRUCTURES, *PAGE_STRUCTURES)
        check_names("question structure in --curriculum", config.rollouts.curriculum, known)
    find_model(config.model.policy)


def training_environment(config: TrainConfig, num_envs: int, policy: Policy) -> ZeroSearchVectorEnv:
    """Make the training environment; the policy may generate its engine's pages.

    Raises:
        ValueError: if the engine does not support the noise of the training.
    """
    questions = training_questions(config.environment)
    engine = with_policy_as_generator(_training_engine(config.environment), policy)
    environment = _make(config, num_envs, questions, engine)
    noise, kinds = config.noise.schedule(config.run.steps), environment.config.noise_kinds
    check_noise(environment.engine, noise, kinds, setting="--noise-start or --noise-end")
    return environment


def held_out_environment(config: TrainConfig, num_envs: int, policy: Policy) -> ZeroSearchVectorEnv:
    """Make the environment of held-out questions with an engine as in training.

    Raises:
        ValueError: if the settings do not say which questions are held out, or the engine does not
            support the noise of the evaluation.
    """
    engine = _training_engine(config.environment)
    if config.environment.eval_engine is not None:
        engine = spec_from_text(config.environment.eval_engine, role="engine", name="--eval-engine")
    questions = _held_out_questions(config.environment)
    environment = _make(config, num_envs, questions, with_policy_as_generator(engine, policy))
    kinds = environment.config.noise_kinds
    check_noise(environment.engine, config.noise.noise_end, kinds, setting="--noise-end")
    noise = max(config.evaluation.eval_noise)
    check_noise(environment.engine, noise, kinds, setting="--eval-noise")
    return environment


def real_engine_environment(config: TrainConfig, num_envs: int) -> ZeroSearchVectorEnv | None:
    """Make the environment of held-out questions with the real engine; None without one."""
    engine = {"kind": "bm25"}  # over all true statements about the world of the questions
    if config.environment.real_engine is not None:
        engine = spec_from_text(config.environment.real_engine, role="engine", name="--real-engine")
    elif not is_about_world(config.environment):
        return None
    return _make(config, num_envs, _held_out_questions(config.environment), engine)


def is_about_world(config: EnvironmentConfig) -> bool:
    """Whether the held-out questions are about a fictional world."""
    return _held_out_questions(config)["kind"] == "world"


def environment_specs(config: TrainConfig) -> dict[str, Spec]:
    """Describe the environments "train" and "heldout" as JSON values, for another trainer.

    Returns:
        Specs of `envs_registry.shared_environment.SharedEnvironment`. The noise of "train" is the
        schedule of the run; "heldout" has none.

    Raises:
        ValueError: if the settings do not say which questions are held out, or the policy generates
            the pages.
    """
    engine, questions = _training_engine(config.environment), training_questions(config.environment)
    if uses_policy(engine):
        raise ValueError("only the trainer of this package lets the policy generate the pages")
    eval_engine = config.environment.eval_engine
    if eval_engine is not None:
        eval_engine = spec_from_text(eval_engine, role="engine", name="--eval-engine")
    held_out = _held_out_questions(config.environment)
    env_id, schedule = {"id": config.environment.env}, config.noise.schedule(config.run.steps)
    noise = asdict(schedule) if max(schedule.start, schedule.end) else 0.0
    return {
        "train": env_id | _settings(config, questions, engine) | {"noise": noise},
        "heldout": env_id | _settings(config, held_out, eval_engine or engine) | {"noise": 0.0},
    }


def _make(
    config: TrainConfig, num_envs: int, questions: Spec, engine: Spec | None
) -> ZeroSearchVectorEnv:
    settings = _settings(config, questions, engine)
    return open_vector(config.environment.env, num_envs, settings)


def _settings(config: TrainConfig, questions: Spec, engine: Spec | None) -> Spec:
    environment = config.environment
    # Metered engines without a ledger share that of the run, and thus one budget.
    ledger = {"path": str(config.run.output / "ledger.jsonl")}
    settings: Spec = {
        "questions": questions,
        "engine": rewritten(
            engine, lambda one: {**ledger, **one} if one.get("kind") == "metered" else one
        ),
        "noise_draw": config.noise.noise_draw,
        **config.noise.noise_settings(),
        "engine_timeout_s": environment.engine_timeout_s,
        **env_settings(environment),
    }
    if environment.reward is not None:
        settings["reward"] = environment.reward
    return settings


def training_questions(config: EnvironmentConfig) -> Spec:
    """Return the spec of the training questions."""
    if config.questions is not None:
        return spec_from_text(config.questions, role="questions")
    return default_spec(config.env, "questions") or dict(WORLD)


def _training_engine(config: EnvironmentConfig) -> Spec | None:
    if config.engine is not None:
        return spec_from_text(config.engine, role="engine")
    engine = default_spec(config.env, "engine")
    about_world = training_questions(config)["kind"] == "world"
    # A world's engine answers only questions about that world.
    return engine if engine is None or engine["kind"] != "world" or about_world else None


def _held_out_questions(config: EnvironmentConfig) -> Spec:
    return held_out_questions(training_questions(config), config.eval_questions)


def uses_policy(spec: object) -> bool:
    """Whether an engine's spec contains a text generator of kind "policy"."""
    if isinstance(spec, Mapping):
        return spec.get("kind") == _POLICY_KIND or any(map(uses_policy, spec.values()))
    return isinstance(spec, list | tuple) and any(map(uses_policy, spec))


def with_policy_as_generator(spec: Any, policy: Policy) -> Any:
    """Return an engine's spec with the policy in place of every generator of kind "policy".

    Raises:
        ValueError: if a cache wraps such a generator, or a field of it does not exist.
    """

    def make(*, sampling: Mapping[str, Any] | None = None, batch_size: int = 16) -> Any:
        from zs_env.simulator.generators.local_transformers import TransformersTextGenerator

        drawn = build_sampling(sampling)
        return TransformersTextGenerator(
            policy.model, policy.tokenizer, sampling=drawn, batch_size=batch_size
        )

    def change(one: Mapping[str, Any]) -> Any:
        if one.get("kind") == "cache" and uses_policy(one):
            raise ValueError(
                "a cache around the policy's own pages would return pages of old weights; "
                "remove the cache"
            )
        if one.get("kind") != _POLICY_KIND:
            return one
        fields = {name: value for name, value in one.items() if name != "kind"}
        return make_named("field of generator kind 'policy'", make, fields)

    return rewritten(spec, change)
