"""Prompted agents: baselines that need a language model but no training.

A method builds the prompts and parses the completions. `PromptedAgent` runs a method with a
`zs_env.simulator.TextGenerator`.
"""

from agents.prompted.chain_of_thought import ChainOfThought
from agents.prompted.direct_answer import DirectAnswer
from agents.prompted.prompted_agent import PromptedAgent
from agents.prompted.ragent import RAgent
from agents.prompted.retrieve_once import RetrieveOnce
from agents.prompted.search_o1 import SearchO1

__all__ = [
    "ChainOfThought",
    "DirectAnswer",
    "PromptedAgent",
    "RAgent",
    "RetrieveOnce",
    "SearchO1",
]
