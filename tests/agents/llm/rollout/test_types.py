"""Groups survive serialization without loss of precision."""

import json
from dataclasses import replace

from agents.llm.rollout.types import Group, group_from_json, group_to_json


def test_groups_are_restored_to_the_last_bit(make_rollout):
    logprobs = [-1 / 3, -0.1, -5e-324, -0.0, -1e300]
    sound = make_rollout(2, 3, 1, 2, reward=0.1 + 0.2, logprobs=logprobs)
    failed = replace(make_rollout(4, 1, failure="no page"), token_mismatch=3)
    group = Group(rollouts=(sound, failed))
    restored = group_from_json(json.loads(json.dumps(group_to_json(group))))
    assert restored == group
    assert restored.rollouts[0].logprobs == sound.logprobs and restored.rollouts[1].failed
