"""JSON specs to objects: questions, engines, text generators, environments, registered ids.

Every function that takes a spec also takes the object itself, so
`gymnasium.make(env_id, engine=my_engine)` works.
"""

from zs_env.config.engines import (
    ENGINE_KINDS,
    GENERATOR_KINDS,
    build_engine,
    build_generator,
    build_sampling,
    check_engine,
)
from zs_env.config.environments import make_env, make_vector_env
from zs_env.config.questions import (
    QUESTION_KINDS,
    WORLD,
    build_questions,
    check_questions_spec,
)
from zs_env.config.registration import PRESETS, Preset, find_preset, register_presets
from zs_env.config.spec import Spec

__all__ = [
    "ENGINE_KINDS",
    "GENERATOR_KINDS",
    "PRESETS",
    "QUESTION_KINDS",
    "WORLD",
    "Preset",
    "Spec",
    "build_engine",
    "build_generator",
    "build_questions",
    "build_sampling",
    "check_engine",
    "check_questions_spec",
    "find_preset",
    "make_env",
    "make_vector_env",
    "register_presets",
]
