"""Search engines that are language models; each part is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zs_env.simulator.engine import LanguageModelEngine
    from zs_env.simulator.scripted_writer import ScriptedWriter
    from zs_env.simulator.style import PROMPTED, TUNED, SimulatorStyle
    from zs_env.simulator.writer import Prompt, Writer, WriterSampling, Writing, WritingError

_MODULES = {
    "LanguageModelEngine": "engine",
    "PROMPTED": "style",
    "Prompt": "writer",
    "ScriptedWriter": "scripted_writer",
    "SimulatorStyle": "style",
    "TUNED": "style",
    "Writer": "writer",
    "WriterSampling": "writer",
    "Writing": "writer",
    "WritingError": "writer",
}
__all__ = [
    "PROMPTED",
    "TUNED",
    "LanguageModelEngine",
    "Prompt",
    "ScriptedWriter",
    "SimulatorStyle",
    "Writer",
    "WriterSampling",
    "Writing",
    "WritingError",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
