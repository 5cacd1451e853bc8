"""Groups that are written and read are the groups that were written."""

import json
from dataclasses import replace

from agents.llm.rollout.serialization import group_from_json, group_to_json
from agents.llm.rollout.types import Group, Source


def test_equal_groups_come_back_to_the_last_bit(make_rollout):
    logprobs = [-1 / 3, -0.1, -5e-324, -0.0, -1e300]
    sound = make_rollout(2, 3, 1, 2, reward=0.1 + 0.2, logprobs=logprobs)
    void = replace(make_rollout(4, 1, failure="no page"), token_mismatch=3)
    newer = tuple(
        replace(segment, weight_version=7) if segment.source is Source.POLICY else segment
        for segment in sound.segments
    )
    group = Group(rollouts=(sound, void, replace(sound, segments=newer)))
    back = group_from_json(json.loads(json.dumps(group_to_json(group))))
    assert back == group
    assert back.rollouts[0].logprobs == sound.logprobs and back.rollouts[1].failed
    assert back.rollouts[2].segments[1].weight_version == 7
