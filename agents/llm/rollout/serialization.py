"""Groups as JSON values and back, without loss of precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from agents.llm.rollout.types import Group, Rollout, Segment, Source
from zs_env.transcripts.serialization import transcript_from_json, transcript_to_json


def group_to_json(group: Group) -> list[dict[str, Any]]:
    """Return a group's rollouts as JSON values."""
    return [
        {
            "segments": [
                {**asdict(segment), "source": segment.source.value} for segment in rollout.segments
            ],
            "transcript": transcript_to_json(rollout.transcript),
            "token_mismatch": rollout.token_mismatch,
        }
        for rollout in group.rollouts
    ]


def group_from_json(values: list[dict[str, Any]]) -> Group:
    """Inverse of `group_to_json`."""
    return Group(
        rollouts=tuple(
            Rollout(
                segments=tuple(map(_segment_from_json, value["segments"])),
                transcript=transcript_from_json(value["transcript"]),
                token_mismatch=value["token_mismatch"],
            )
            for value in values
        )
    )


def _segment_from_json(value: Mapping[str, Any]) -> Segment:
    logprobs = value["logprobs"]
    return Segment(
        source=Source(value["source"]),
        token_ids=tuple(value["token_ids"]),
        logprobs=None if logprobs is None else tuple(logprobs),
    )
