"""What verl's trainer gets of an episode: its tokens after the prompt, with mask and reward."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import (  # type: ignore[import-not-found]
    AgentLoopMetrics,
    AgentLoopOutput,
)

from agents.llm.rollout.types import Rollout


@dataclass(slots=True)
class EpisodeTally:
    """What an episode's turns have cost, and with which weights they were written.

    Attributes:
        request_id: names the episode to the servers, so that one of them keeps its cache.
        generating_s: seconds that the servers took.
        searching_s: seconds that the environment took.
        num_preempted: how often a server put a turn off; -1 where it does not say.
        first_version: trainer's step whose weights wrote the first turn.
        last_version: the same of the last turn.
    """

    request_id: str = field(default_factory=lambda: uuid4().hex)
    generating_s: float = 0.0
    searching_s: float = 0.0
    num_preempted: int = -1
    first_version: int | None = None
    last_version: int | None = None

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds of a block to the attribute of this name."""
        started = time.perf_counter()
        yield
        setattr(self, name, getattr(self, name) + time.perf_counter() - started)

    def add(self, output: Any) -> None:
        """Note with which weights a turn was written."""
        fields = output.extra_fields
        if self.first_version is None:
            self.first_version = fields.get("min_global_steps", fields.get("global_steps"))
        self.last_version = fields.get("max_global_steps", fields.get("global_steps"))
        if output.num_preempted is not None:
            self.num_preempted = max(self.num_preempted, 0) + output.num_preempted


def episode_output(rollout: Rollout, tally: EpisodeTally, has_logprobs: bool) -> Any:
    """Return an episode as verl wants it: the prompt, and everything after it as the response."""
    prompt = rollout.segments[0].token_ids
    start, transcript = len(prompt), rollout.transcript
    return AgentLoopOutput(
        prompt_ids=list(prompt),
        response_ids=list(rollout.token_ids[start:]),
        response_mask=[int(acted) for acted in rollout.action_mask[start:]],
        response_logprobs=list(rollout.logprobs[start:]) if has_logprobs else None,
        reward_score=float(rollout.reward),
        num_turns=len(rollout.segments),
        metrics=AgentLoopMetrics(
            generate_sequences=tally.generating_s,
            tool_calls=tally.searching_s,
            num_preempted=tally.num_preempted,
        ),
        extra_fields={
            "turn_scores": [],
            "tool_rewards": [],
            "global_steps": tally.last_version,
            "min_global_steps": tally.first_version,
            "max_global_steps": tally.last_version,
            "reward_extra_info": {
                **transcript.scores(),
                "num_searches": transcript.num_searches,
                "noise_probability": transcript.noise_probability,
            },
        },
    )


def turn_logprobs(output: Any, count: int, *, asked: bool) -> tuple[float, ...]:
    """The logprobs of a turn's first tokens; zeros where verl asked for none."""
    if not asked:
        return (0.0,) * count
    if output.log_probs is None:
        raise ValueError(
            "the server gave no logprobs; set actor_rollout_ref.rollout.calculate_log_probs=False "
            "or use a server that has them"
        )
    return tuple(output.log_probs[:count])
