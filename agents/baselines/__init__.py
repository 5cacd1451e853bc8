"""Scripted agents for comparison, without a language model."""

from agents.baselines.heuristics import (
    AnswerAtOnce,
    QuotePage,
    RandomWords,
    SearchEachName,
    SearchOnce,
)
from agents.baselines.world_oracle import FollowTheHops

__all__ = [
    "AnswerAtOnce",
    "FollowTheHops",
    "QuotePage",
    "RandomWords",
    "SearchEachName",
    "SearchOnce",
]
