"""Rollouts as plain JSON values, the same for every trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from agents.llm.rollout.types import Group, Rollout, Segment, Source
from zs_env import Question, Transcript


def as_json(groups: Sequence[Group]) -> list[list[dict[str, Any]]]:
    """Prompt and completion apart, with what the policy wrote marked in the completion."""
    return [[_values(rollout) for rollout in group.rollouts] for group in groups]


def from_json(groups: Sequence[Sequence[Mapping[str, Any]]]) -> list[Group]:
    """Groups from what `as_json` gave; of their transcripts only the rewards are left."""
    return [Group(rollouts=tuple(map(_from_values, group))) for group in groups]


def _values(rollout: Rollout) -> dict[str, Any]:
    begin = len(rollout.segments[0].token_ids)
    return {
        "prompt_ids": list(rollout.token_ids[:begin]),
        "completion_ids": list(rollout.token_ids[begin:]),
        "action_mask": [int(acted) for acted in rollout.action_mask[begin:]],
        "logprobs": list(rollout.logprobs[begin:]),
        "reward": rollout.reward,
    }


def _from_values(values: Mapping[str, Any]) -> Rollout:
    segments = [Segment(source=Source.PROMPT, token_ids=tuple(values["prompt_ids"]))]
    tokens = zip(values["action_mask"], values["completion_ids"], values["logprobs"], strict=True)
    for acted, run in groupby(tokens, key=lambda token: token[0]):
        _, ids, logprobs = zip(*run, strict=True)
        source = Source.POLICY if acted else Source.ENVIRONMENT
        segments.append(Segment(source=source, token_ids=ids, logprobs=logprobs if acted else None))
    transcript = Transcript(
        question=Question(id="q", text="?", answers=("a",)),
        prompt="",
        reason="answer",
        reward_terms=(("answer", values["reward"]),),
    )
    return Rollout(segments=tuple(segments), transcript=transcript)
