"""The embedded fictional world: entities and facts, questions about them, and a search engine."""

from zs_env.world.engine import WorldEngine
from zs_env.world.questions import (
    DEFAULT_MIX,
    PAGE_STRUCTURES,
    STRUCTURES,
    Chain,
    Comparison,
    Intersection,
    WorldQuestions,
    parse_question,
)
from zs_env.world.world import World

__all__ = [
    "DEFAULT_MIX",
    "PAGE_STRUCTURES",
    "STRUCTURES",
    "Chain",
    "Comparison",
    "Intersection",
    "World",
    "WorldEngine",
    "WorldQuestions",
    "parse_question",
]
