import math

import pytest
import torch

from agents.llm.algorithms.advantages import (
    gae,
    group_advantages,
    returns_to_go,
    token_rewards,
    whiten,
    zero_variance_groups,
)


def _tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_group_advantages_by_hand():
    # Group 0: 1, 0, 0.5 has mean 0.5 and population std sqrt(1/6). Group 7: 1, 0 gives +-1.
    rewards, groups = _tensor(1, 1, 0, 0, 0.5), torch.tensor([0, 7, 0, 7, 0])
    root = math.sqrt(1 / 6)
    expected = [0.5 / root, 1.0, -0.5 / root, -1.0, 0.0]
    assert group_advantages(rewards, groups).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 1 / 3])
def test_equal_rewards_give_exactly_zero_advantage(reward):
    rewards = torch.full((7,), reward, dtype=torch.float64)
    assert group_advantages(rewards, torch.zeros(7, dtype=torch.long)).tolist() == [0.0] * 7
    assert whiten(rewards).tolist() == [0.0] * 7


def test_a_group_of_one_has_no_advantage():
    assert group_advantages(_tensor(1.0), torch.tensor([0])).tolist() == [0.0]


def test_groups_without_variance_are_counted():
    rewards, groups = _tensor(1, 1, 0, 1, 0.5), torch.tensor([0, 0, 1, 1, 2])
    assert zero_variance_groups(rewards, groups) == 2


def test_whitened_values_have_mean_zero_and_std_one():
    whitened = whiten(_tensor(3, 5, 10))
    assert whitened.mean().item() == pytest.approx(0, abs=1e-12)
    assert whitened.std(correction=0).item() == pytest.approx(1)


def test_the_reward_stands_on_the_last_action_token():
    rewards = token_rewards(_tensor(0.5, 1.0), torch.tensor([3, 1]))
    assert rewards.tolist() == [0, 0, 0.5, 1.0]


def test_returns_to_go_by_hand():
    rewards, counts = _tensor(1, 2, 4, 8), torch.tensor([3, 1])
    assert returns_to_go(rewards, counts).tolist() == [7, 6, 4, 8]
    assert returns_to_go(rewards, counts, gamma=0.5).tolist() == [3, 4, 4, 8]


def test_gae_by_hand():
    # delta = .9 * next value - value (+ reward): .08, .07, .06, .6; each carries .72 of the next.
    # The second rollout, a single token, must not leak into the first: 0.2 - 0.5 = -0.3.
    rewards, values = _tensor(0, 0, 0, 1, 0.2), _tensor(0.1, 0.2, 0.3, 0.4, 0.5)
    advantages, gae_returns = gae(rewards, values, torch.tensor([4, 1]), gamma=0.9, gae_lambda=0.8)
    expected = [0.3854528, 0.42424, 0.492, 0.6, -0.3]
    assert advantages.tolist() == pytest.approx(expected)
    expected_returns = [0.4854528, 0.62424, 0.792, 1.0, 0.2]
    assert gae_returns.tolist() == pytest.approx(expected_returns)


def test_each_rollout_has_its_own_returns_and_gae():
    # Three rollouts of 2, 1 and 3 tokens, one after the other; each alone gives the same numbers.
    rewards, values = _tensor(1, 2, 50, 4, 8, 16), _tensor(3, 5, 70, 7, 11, 13)
    counts = torch.tensor([2, 1, 3])
    # delta: 1 + 5/2 - 3 = .5, 2 - 5 = -3 | 50 - 70 = -20 | 4 + 11/2 - 7 = 2.5, 8 + 13/2 - 11 = 3.5,
    # 16 - 13 = 3; each adds gamma * lambda = 1/4 of the next.
    advantages, gae_returns = gae(rewards, values, counts, gamma=0.5, gae_lambda=0.5)
    assert advantages.tolist() == [-0.25, -3, -20, 3.5625, 4.25, 3]
    assert gae_returns.tolist() == [2.75, 2, 50, 10.5625, 15.25, 16]
    assert returns_to_go(rewards, counts, gamma=0.5).tolist() == [2, 2, 50, 12, 16, 16]


def test_gae_with_lambda_one_is_return_minus_value():
    torch.manual_seed(0)
    rewards, values = torch.randn(2, 9, dtype=torch.float64)
    counts = torch.tensor([2, 4, 3])
    advantages, _ = gae(rewards, values, counts, gamma=0.97, gae_lambda=1.0)
    returns = returns_to_go(rewards, counts, gamma=0.97)
    torch.testing.assert_close(advantages, returns - values)
