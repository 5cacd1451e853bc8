"""Search engines that need no LLM, and wrappers around any engine.

Each class is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zs_env.engines.budget.engine import MeteredEngine
    from zs_env.engines.cache.engine import CachedEngine
    from zs_env.engines.google import GoogleEngine
    from zs_env.engines.http import HTTPEngine
    from zs_env.engines.hybrid import HybridEngine
    from zs_env.engines.mixture import MixtureEngine
    from zs_env.engines.paragraphs import ParagraphEngine
    from zs_env.engines.retrieval.bm25 import BM25Engine
    from zs_env.engines.retrieval.dense import DenseEngine
    from zs_env.engines.scripted import ScriptedEngine

__all__ = [
    "BM25Engine",
    "CachedEngine",
    "DenseEngine",
    "GoogleEngine",
    "HTTPEngine",
    "HybridEngine",
    "MeteredEngine",
    "MixtureEngine",
    "ParagraphEngine",
    "ScriptedEngine",
]

_MODULES = {
    "BM25Engine": "retrieval.bm25",
    "CachedEngine": "cache.engine",
    "DenseEngine": "retrieval.dense",
    "GoogleEngine": "google",
    "HTTPEngine": "http",
    "HybridEngine": "hybrid",
    "MeteredEngine": "budget.engine",
    "MixtureEngine": "mixture",
    "ParagraphEngine": "paragraphs",
    "ScriptedEngine": "scripted",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; expected one of {__all__}"
        )
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
