"""The ceiling on the fictional world: an agent that searches as well as one can.

It reads nothing but what any agent reads. What it misses, luck withheld: with noise, a search
that brought a noisy page is asked again until the turns run out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.baselines.world_reader import Plan, read_statements


class FollowTheHops:
    """Looks up one fact after the other, repeats what a noisy page withheld, then answers.

    Stateless: it reads the observation's question and transcript anew at every turn.

    Args:
        max_turns: actions allowed; with the last one it answers, by a guess if it must.
    """

    def __init__(self, max_turns: int = 6) -> None:
        self.max_turns = max_turns

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return a search or an answer.

        Raises:
            ValueError: if the question is not one of the fictional world.
        """
        plan = Plan.of(observation["question"])
        transcript = observation["transcript"]
        lookup = plan.read(read_statements(transcript))
        turns_taken = transcript.count("\n</information>\n")
        if lookup is None or turns_taken + 1 >= self.max_turns:
            return f"<answer> {plan.answer or plan.guess or 'unknown'}</answer>"
        return f"<search> {lookup.query}</search>"
