"""Rollouts as plain JSON values, the same for every trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.llm.segments import Group, Rollout


def as_json(groups: Sequence[Group]) -> list[list[dict[str, Any]]]:
    """Prompt and completion apart, with what the policy wrote marked in the completion."""
    return [[_rollout(rollout) for rollout in group.rollouts] for group in groups]


def _rollout(rollout: Rollout) -> dict[str, Any]:
    begin = len(rollout.segments[0].token_ids)
    return {
        "prompt_ids": list(rollout.token_ids[:begin]),
        "completion_ids": list(rollout.token_ids[begin:]),
        "action_mask": [int(acted) for acted in rollout.action_mask[begin:]],
        "logprobs": list(rollout.logprobs[begin:]),
        "reward": rollout.reward,
    }
