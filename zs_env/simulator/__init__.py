"""Search engines simulated by a language model."""

from zs_env.simulator.engine import LanguageModelEngine
from zs_env.simulator.generators.base import (
    Completion,
    GenerationError,
    Prompt,
    ScriptedTextGenerator,
    TextGenerator,
    TextSampling,
)
from zs_env.simulator.prompts import GROUNDED, PROMPTED, TUNED, SimulatorPrompts

__all__ = [
    "GROUNDED",
    "PROMPTED",
    "TUNED",
    "Completion",
    "GenerationError",
    "LanguageModelEngine",
    "Prompt",
    "ScriptedTextGenerator",
    "SimulatorPrompts",
    "TextGenerator",
    "TextSampling",
]
