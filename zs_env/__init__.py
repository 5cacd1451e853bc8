"""A Gymnasium environment in which language models learn to search, without a search engine.

Importing the package registers the environment ids with Gymnasium.
"""

from zs_env.actions import Answer, Malformed, Open, Search, parse_action
from zs_env.config.registration import register_presets
from zs_env.env import ZeroSearchEnv
from zs_env.episode import Episode
from zs_env.metrics import contains_answer, exact_match, f1_score
from zs_env.noise import NoiseSchedule
from zs_env.questions.question import Question
from zs_env.search.engine import SearchEngine
from zs_env.search.types import Document, SearchError, SearchPage, SearchRequest
from zs_env.transcripts.transcript import Transcript
from zs_env.vector_env import ZeroSearchVectorEnv

__all__ = [
    "Answer",
    "Document",
    "Episode",
    "Malformed",
    "NoiseSchedule",
    "Open",
    "Question",
    "Search",
    "SearchEngine",
    "SearchError",
    "SearchPage",
    "SearchRequest",
    "Transcript",
    "ZeroSearchEnv",
    "ZeroSearchVectorEnv",
    "contains_answer",
    "exact_match",
    "f1_score",
    "parse_action",
]

register_presets()
