"""Search engines simulated by a language model. Each name is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zs_env.simulator.engine import LanguageModelEngine
    from zs_env.simulator.generators.base import (
        Completion,
        GenerationError,
        Prompt,
        TextGenerator,
        TextSampling,
    )
    from zs_env.simulator.generators.scripted import ScriptedTextGenerator
    from zs_env.simulator.prompts import PROMPTED, TUNED, SimulatorPrompts

_MODULES = {
    "LanguageModelEngine": "engine",
    "PROMPTED": "prompts",
    "Prompt": "generators.base",
    "ScriptedTextGenerator": "generators.scripted",
    "SimulatorPrompts": "prompts",
    "TUNED": "prompts",
    "TextGenerator": "generators.base",
    "TextSampling": "generators.base",
    "Completion": "generators.base",
    "GenerationError": "generators.base",
}
__all__ = [
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


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
