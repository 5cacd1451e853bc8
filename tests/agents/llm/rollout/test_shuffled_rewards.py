"""The control keeps every reward and takes away what it says."""

from collections.abc import Callable

from agents.llm.rollout.shuffled_rewards import shuffle_rewards
from agents.llm.rollout.types import Group, Rollout


def test_rewards_are_dealt_to_other_episodes(make_rollout: Callable[..., Rollout]) -> None:
    groups = [
        Group(rollouts=tuple(make_rollout(2, 3, reward=4.0 * g + r, seed=r) for r in range(4)))
        for g in range(3)
    ]
    shuffled = shuffle_rewards(groups, seed=1)
    before = [rollout.reward for group in groups for rollout in group.rollouts]
    after = [rollout.reward for group in shuffled for rollout in group.rollouts]
    assert sorted(after) == sorted(before) == [float(n) for n in range(12)]
    assert after != before
    assert [r.token_ids for g in shuffled for r in g.rollouts] == [
        r.token_ids for g in groups for r in g.rollouts
    ]
    assert shuffle_rewards(groups, seed=1) == shuffled


def test_a_void_episode_stays_void_and_keeps_its_reward_to_itself(
    make_rollout: Callable[..., Rollout],
) -> None:
    void = make_rollout(2, 2, reward=0.0, failure="engine down")
    sound = [make_rollout(2, 2, reward=reward) for reward in (1.0, 2.0)]
    (group,) = shuffle_rewards([Group(rollouts=(sound[0], void, sound[1]))], seed=0)
    assert group.rollouts[1] is void
    assert {group.rollouts[0].reward, group.rollouts[2].reward} == {1.0, 2.0}
