"""A finished episode as the `AgentLoopOutput` of verl."""

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
class GenerationStats:
    """Times of an episode and the weights that generated its turns.

    Attributes:
        request_id: identifies the episode to the servers, so that one server keeps its cache.
        generating_s: seconds spent in generation.
        searching_s: seconds spent in environment steps.
        num_preempted: number of preemptions on the servers; -1 if unknown.
        first_version: trainer step of the weights that generated the first turn.
        last_version: trainer step of the weights that generated the last turn.
    """

    request_id: str = field(default_factory=lambda: uuid4().hex)
    generating_s: float = 0.0
    searching_s: float = 0.0
    num_preempted: int = -1
    first_version: int | None = None
    last_version: int | None = None

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes to attribute `name`."""
        started = time.perf_counter()
        yield
        setattr(self, name, getattr(self, name) + time.perf_counter() - started)

    def add(self, output: Any) -> None:
        """Record the weights and preemptions of a turn."""
        fields = output.extra_fields
        if self.first_version is None:
            self.first_version = fields.get("min_global_steps", fields.get("global_steps"))
        self.last_version = fields.get("max_global_steps", fields.get("global_steps"))
        if output.num_preempted is not None:
            self.num_preempted = max(self.num_preempted, 0) + output.num_preempted


def episode_output(rollout: Rollout, stats: GenerationStats, has_logprobs: bool) -> Any:
    """Return the episode for verl: the prompt, and everything after it as the response."""
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
            generate_sequences=stats.generating_s,
            tool_calls=stats.searching_s,
            num_preempted=stats.num_preempted,
        ),
        extra_fields={
            "turn_scores": [],
            "tool_rewards": [],
            "global_steps": stats.last_version,
            "min_global_steps": stats.first_version,
            "max_global_steps": stats.last_version,
            "reward_extra_info": {
                **transcript.scores(),
                "num_searches": transcript.num_searches,
                "noise_probability": transcript.noise_probability,
            },
        },
    )


def turn_logprobs(output: Any, count: int, *, requested: bool) -> tuple[float, ...]:
    """Logprobs of the first `count` tokens of a turn; zeros if verl did not request any."""
    if not requested:
        return (0.0,) * count
    if output.log_probs is None:
        raise ValueError(
            "the server returned no logprobs; set "
            "actor_rollout_ref.rollout.calculate_log_probs=False "
            "or use a server that returns them"
        )
    return tuple(output.log_probs[:count])
