"""Search engines that need no LLM, and wrappers around any engine."""

from zs_env.engines.budget.engine import MeteredEngine
from zs_env.engines.cache.engine import CachedEngine
from zs_env.engines.corpus import CorpusEngine
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
    "CorpusEngine",
    "DenseEngine",
    "GoogleEngine",
    "HTTPEngine",
    "HybridEngine",
    "MeteredEngine",
    "MixtureEngine",
    "ParagraphEngine",
    "ScriptedEngine",
]
