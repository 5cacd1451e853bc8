"""Prompted agents: baselines that need a language model but no training."""

from agents.prompted.methods import (
    ChainOfThought,
    DirectAnswer,
    Instruct,
    RAgent,
    RetrieveOnce,
    SearchO1,
)
from agents.prompted.prompted_agent import PromptedAgent

__all__ = [
    "ChainOfThought",
    "DirectAnswer",
    "Instruct",
    "PromptedAgent",
    "RAgent",
    "RetrieveOnce",
    "SearchO1",
]
