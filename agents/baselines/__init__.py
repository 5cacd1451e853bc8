"""Scripted agents for comparison, without a language model."""

from agents.baselines.answer_at_once import AnswerAtOnce
from agents.baselines.follow_the_hops import FollowTheHops
from agents.baselines.random_words import RandomWords
from agents.baselines.search_each_name import SearchEachName
from agents.baselines.search_once import QuotePage, SearchOnce

__all__ = [
    "AnswerAtOnce",
    "FollowTheHops",
    "QuotePage",
    "RandomWords",
    "SearchEachName",
    "SearchOnce",
]
