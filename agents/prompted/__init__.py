"""Prompted agents: baselines that need a language model but no training."""

from agents.prompted.methods import ChainOfThought, DirectAnswer, RAgent, RetrieveOnce, SearchO1
from agents.prompted.prompted_agent import PromptedAgent

__all__ = [
    "ChainOfThought",
    "DirectAnswer",
    "PromptedAgent",
    "RAgent",
    "RetrieveOnce",
    "SearchO1",
]
