"""The control with shuffled rewards keeps all rewards and changes their episodes."""

from collections.abc import Callable

from agents.llm.rollout.types import Group, Rollout
from agents.llm.trainer.rollouts import shuffle_rewards


def test_rewards_are_assigned_to_other_episodes(make_rollout: Callable[..., Rollout]) -> None:
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


def test_a_failed_episode_is_not_changed(make_rollout: Callable[..., Rollout]) -> None:
    failed = make_rollout(2, 2, reward=0.0, failure="engine down")
    sound = [make_rollout(2, 2, reward=reward) for reward in (1.0, 2.0)]
    (group,) = shuffle_rewards([Group(rollouts=(sound[0], failed, sound[1]))], seed=0)
    assert group.rollouts[1] is failed
    assert {group.rollouts[0].reward, group.rollouts[2].reward} == {1.0, 2.0}
