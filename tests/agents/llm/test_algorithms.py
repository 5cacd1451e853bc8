import math

import pytest
import torch

from agents.llm.algorithms import ALGORITHMS, AlgorithmConfig
from agents.llm.batch import Batch
from agents.llm.segments import Group
from agents.llm.targets import make_targets


def _targets(groups, config, *, reference=None, critic=None):
    def never(micro_batch):
        raise AssertionError("nobody asked for the policy's own log-probabilities")

    batch = Batch.from_groups(groups)
    return make_targets(
        batch, config, max_tokens=1000, policy=never, reference=reference, critic=critic
    )


def test_grpo_by_hand(make_rollout):
    # Rewards 1 and 0, and a void one that must not count: mean 0.5, std 0.5.
    group = Group(
        rollouts=(
            make_rollout(2, 2, 3, 1, reward=1.0),
            make_rollout(2, 1, fault="timeout"),
            make_rollout(2, 2, reward=0.0),
        )
    )
    alone = Group(rollouts=(make_rollout(2, 1, reward=1.0), make_rollout(2, 1, reward=1.0)))
    targets = _targets([group, alone], AlgorithmConfig(name="grpo"))
    expected = [1.0, 1.0, 1.0, -1.0, -1.0, 0.0, 0.0]
    assert targets.advantages_A.tolist() == pytest.approx(expected, rel=1e-5)


def test_reinforce_gives_every_token_the_raw_reward(make_rollout):
    group = Group(rollouts=(make_rollout(2, 2, 3, 1, reward=0.4), make_rollout(2, 1)))
    targets = _targets([group], AlgorithmConfig(name="reinforce"))
    assert targets.advantages_A.tolist() == [0.4, 0.4, 0.4, 0.0]


def test_reinforce_pp_by_hand(make_rollout):
    # KL a token (k1): 0.5, -0.2 | 0.4, charged at 0.1. Rewards: -.05, 1.02 | -.04.
    # To go: .97, 1.02 | -.04, mean .65, deviations .32, .37, -.69.
    first = make_rollout(2, 1, 4, 1, reward=1.0, logprobs=(-1.0, -2.0))
    second = make_rollout(2, 1, reward=0.0, logprobs=(-3.0,))
    ref = torch.tensor([-1.5, -1.8, -3.4], dtype=torch.float64)
    targets = _targets(
        [Group(rollouts=(first,)), Group(rollouts=(second,))],
        AlgorithmConfig(name="reinforce_pp", kl_coef=0.1),
        reference=lambda micro_batch: ref[micro_batch.tokens_A],
    )
    std = math.sqrt((0.32**2 + 0.37**2 + 0.69**2) / 3)
    expected = [0.32 / std, 0.37 / std, -0.69 / std]
    assert targets.advantages_A.tolist() == pytest.approx(expected)
    assert targets.reward_kl == pytest.approx(0.7 / 3)


def test_ppo_gae_carries_across_observations(make_rollout):
    # Three turns of 1, 2 and 1 tokens with pages between. The critic is asked only before action
    # tokens; on every other position it would say 99.
    rollout = make_rollout(3, 1, 5, 2, 4, 1, reward=1.0)
    values_T = torch.full((15,), 99.0, dtype=torch.float64)
    values_T[[2, 8, 9, 14]] = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    targets = _targets(
        [Group(rollouts=(rollout,))],
        AlgorithmConfig(name="ppo", gamma=0.9, gae_lambda=0.8),
        critic=lambda micro_batch: values_T[micro_batch.predictors_A],
    )
    expected = [0.4854528, 0.62424, 0.792, 1.0]
    assert targets.returns_A.tolist() == pytest.approx(expected)
    raw = torch.tensor([0.3854528, 0.42424, 0.492, 0.6], dtype=torch.float64)
    whitened = (raw - raw.mean()) / raw.std(correction=0)
    assert targets.advantages_A.tolist() == pytest.approx(whitened.tolist(), rel=1e-6)


def test_an_episode_out_of_turns_is_not_bootstrapped(make_rollout):
    rollout = make_rollout(3, 2, reward=0.0)
    targets = _targets(
        [Group(rollouts=(rollout,))],
        AlgorithmConfig(name="ppo"),
        critic=lambda micro_batch: torch.ones(2, dtype=torch.float64),
    )
    assert targets.returns_A.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["grpo", "ppo", "reinforce_pp"])
def test_equal_rewards_give_zero_advantage(make_rollout, name):
    group = Group(rollouts=tuple(make_rollout(2, 1 + i, reward=0.3) for i in range(4)))
    targets = _targets(
        [group],
        AlgorithmConfig(name=name),
        critic=lambda micro_batch: torch.zeros(len(micro_batch.tokens_A)).double(),
    )
    assert targets.advantages_A.tolist() == [0.0] * 10


def test_kl_goes_where_the_row_says_unless_told(make_rollout):
    for name, row in ALGORITHMS.items():
        config = AlgorithmConfig(name=name, kl_coef=0.1)
        assert (config.kl_in_loss, config.kl_in_reward) == (
            row.kl_place == "loss",
            row.kl_place == "reward",
        )
        assert AlgorithmConfig(name=name, kl_coef=0.1, kl_place="reward").kl_in_reward
        assert AlgorithmConfig(name=name, kl_coef=0.1, kl_place="loss").kl_in_loss
        assert not AlgorithmConfig(name=name, kl_place="loss").kl_in_loss


def test_unknown_names_and_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="expected one of grpo, ppo"):
        AlgorithmConfig(name="gppo")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="num_epochs is 0"):
        AlgorithmConfig(num_epochs=0)
    with pytest.raises(ValueError, match="kl_coef is -1"):
        AlgorithmConfig(kl_coef=-1)
