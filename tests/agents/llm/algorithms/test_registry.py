import math
from dataclasses import replace

import pytest
import torch

from agents.llm.algorithms.losses import importance_weights
from agents.llm.algorithms.registry import ALGORITHMS, AlgorithmConfig
from agents.llm.learner.batch import Batch
from agents.llm.learner.experience import make_experience
from agents.llm.rollout.types import Group


def _experience(groups, config, *, reference=None, critic=None):
    def never(micro_batch):
        raise AssertionError("the log-probabilities of the policy are not needed")

    batch = Batch.from_groups(groups)
    config = replace(config, recompute_logprobs=False)
    return make_experience(
        batch, config, max_tokens=1000, policy=never, reference=reference, critic=critic
    )


def test_grpo_by_hand(make_rollout):
    # Rewards 1 and 0, and a failed rollout that must not count: mean 0.5, std 0.5.
    group = Group(
        rollouts=(
            make_rollout(2, 2, 3, 1, reward=1.0),
            make_rollout(2, 1, failure="timeout"),
            make_rollout(2, 2, reward=0.0),
        )
    )
    alone = Group(rollouts=(make_rollout(2, 1, reward=1.0), make_rollout(2, 1, reward=1.0)))
    experience = _experience([group, alone], AlgorithmConfig(algorithm="grpo"))
    expected = [1.0, 1.0, 1.0, -1.0, -1.0, 0.0, 0.0]
    assert experience.advantages_A.tolist() == pytest.approx(expected, rel=1e-5)


def test_dr_grpo_does_not_divide_by_the_spread(make_rollout):
    group = Group(rollouts=(make_rollout(2, 2, reward=0.4), make_rollout(2, 1, reward=0.0)))
    experience = _experience([group], AlgorithmConfig(algorithm="dr_grpo"))
    assert experience.advantages_A.tolist() == pytest.approx([0.2, 0.2, -0.2])


def test_rloo_leaves_itself_out(make_rollout):
    # Others' means: (0 + .5) / 2, (1 + .5) / 2, (1 + 0) / 2; the group of one has none.
    group = Group(rollouts=tuple(make_rollout(2, 1, reward=r) for r in (1.0, 0.0, 0.5)))
    alone = Group(rollouts=(make_rollout(2, 1, reward=1.0),))
    experience = _experience([group, alone], AlgorithmConfig(algorithm="rloo"))
    assert experience.advantages_A.tolist() == pytest.approx([0.75, -0.75, 0.0, 0.0])


def test_reinforce_pp_baseline_centres_by_group_and_scales_by_batch(make_rollout):
    # Centred: .5, -.5 (two tokens) | .1, -.1. Over five tokens: mean -.1, the rest by hand.
    first = Group(rollouts=(make_rollout(2, 1, reward=1.0), make_rollout(2, 2, reward=0.0)))
    second = Group(rollouts=(make_rollout(2, 1, reward=0.6), make_rollout(2, 1, reward=0.4)))
    experience = _experience([first, second], AlgorithmConfig(algorithm="reinforce_pp_baseline"))
    centred = [0.5, -0.5, -0.5, 0.1, -0.1]
    std = math.sqrt(sum((value + 0.1) ** 2 for value in centred) / 5)
    assert experience.advantages_A.tolist() == pytest.approx([(v + 0.1) / std for v in centred])


def test_grpo_turn_discounts_by_the_turn(make_rollout):
    # Two turns and reward 1, discounted once: .5 (two tokens), 1. One turn without reward: 0.
    # Three turns: mean .5, population std sqrt(1/6).
    group = Group(rollouts=(make_rollout(2, 2, 3, 1, reward=1.0), make_rollout(2, 2, reward=0.0)))
    experience = _experience([group], AlgorithmConfig(algorithm="grpo_turn", gamma=0.5))
    high = 0.5 / math.sqrt(1 / 6)
    expected = [0.0, 0.0, high, -high, -high]
    assert experience.advantages_A.tolist() == pytest.approx(expected, abs=1e-5)
    assert experience.returns_A.tolist() == [0.5, 0.5, 1.0, 0.0, 0.0]


def test_a_turn_counts_once_however_long_it_is(make_rollout):
    def advantages(length):
        group = Group(rollouts=(make_rollout(2, length, 3, 1, reward=1.0), make_rollout(2, 1)))
        return _experience([group], AlgorithmConfig(algorithm="grpo_turn", gamma=0.5)).advantages_A

    assert advantages(9)[-1] == pytest.approx(float(advantages(1)[-1]))


def test_the_correction_weighs_tokens_by_learner_over_sampler(make_rollout):
    group = Group(
        rollouts=(
            make_rollout(2, 2, reward=1.0, logprobs=(-1.0, -2.0)),
            make_rollout(2, 1, reward=0.0, logprobs=(-1.0,)),
        )
    )
    ours = torch.tensor([math.log(2), -1.0, math.log(8)], dtype=torch.float64)  # minus -1, -2, -1
    batch = Batch.from_groups([group])

    def weights(name, limit):
        config = AlgorithmConfig(importance_sampling=name, importance_limit=limit)
        return make_experience(
            batch,
            config,
            max_tokens=1000,
            policy=lambda micro_batch: ours[micro_batch.tokens_A] - torch.tensor([1.0, 1.0, 1.0]),
            reference=None,
            critic=None,
        )

    truncated = weights("token_truncate", 3.0)
    # Ratios: 2, 1, 8.
    assert truncated.importance_weights_A.tolist() == pytest.approx([2.0, 1.0, 3.0])
    assert weights("token_mask", 3.0).importance_weights_A.tolist() == pytest.approx(
        [2.0, 1.0, 0.0]
    )
    assert weights("sequence_truncate", 3.0).importance_weights_A.tolist() == pytest.approx(
        [2, 2, 3]
    )
    assert weights("sequence_mask", 3.0).importance_weights_A.tolist() == pytest.approx([2, 2, 0])
    assert weights("none", 3.0).importance_weights_A.tolist() == [1.0] * 3
    metrics = truncated.metrics
    assert metrics["sampler_ratio_mean"] == pytest.approx(11 / 3)
    assert metrics["sampler_ess"] == pytest.approx(6**2 / (14 * 3))
    assert metrics["sampler_k1"] == pytest.approx(-math.log(16) / 3)
    assert metrics["sampler_k3"] == pytest.approx((11 - 3 - math.log(16)) / 3)
    assert weights("token_mask", 3.0).metrics["sampler_masked"] == pytest.approx(1 / 3)


def test_reinforce_gives_every_token_the_raw_reward(make_rollout):
    group = Group(rollouts=(make_rollout(2, 2, 3, 1, reward=0.4), make_rollout(2, 1)))
    experience = _experience([group], AlgorithmConfig(algorithm="reinforce"))
    assert experience.advantages_A.tolist() == [0.4, 0.4, 0.4, 0.0]


def test_reinforce_pp_by_hand(make_rollout):
    # KL a token (k1): 0.5, -0.2 | 0.4, charged at 0.1. Rewards: -.05, 1.02 | -.04.
    # To go: .97, 1.02 | -.04, mean .65, deviations .32, .37, -.69.
    first = make_rollout(2, 1, 4, 1, reward=1.0, logprobs=(-1.0, -2.0))
    second = make_rollout(2, 1, reward=0.0, logprobs=(-3.0,))
    ref = torch.tensor([-1.5, -1.8, -3.4], dtype=torch.float64)
    experience = _experience(
        [Group(rollouts=(first,)), Group(rollouts=(second,))],
        AlgorithmConfig(algorithm="reinforce_pp", kl_coef=0.1),
        reference=lambda micro_batch: ref[micro_batch.tokens_A],
    )
    std = math.sqrt((0.32**2 + 0.37**2 + 0.69**2) / 3)
    expected = [0.32 / std, 0.37 / std, -0.69 / std]
    assert experience.advantages_A.tolist() == pytest.approx(expected)
    assert experience.metrics["kl"] == pytest.approx(0.7 / 3)


def test_ppo_gae_carries_across_observations(make_rollout):
    # Three turns of 1, 2 and 1 tokens with pages between. The critic is asked only before action
    # tokens; on every other position it would say 99.
    rollout = make_rollout(3, 1, 5, 2, 4, 1, reward=1.0)
    values_T = torch.full((15,), 99.0, dtype=torch.float64)
    values_T[[2, 8, 9, 14]] = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    experience = _experience(
        [Group(rollouts=(rollout,))],
        AlgorithmConfig(algorithm="ppo", gamma=0.9, gae_lambda=0.8),
        critic=lambda micro_batch: values_T[micro_batch.predictors_A],
    )
    expected = [0.4854528, 0.62424, 0.792, 1.0]
    assert experience.returns_A.tolist() == pytest.approx(expected)
    raw = torch.tensor([0.3854528, 0.42424, 0.492, 0.6], dtype=torch.float64)
    whitened = (raw - raw.mean()) / raw.std(correction=0)
    assert experience.advantages_A.tolist() == pytest.approx(whitened.tolist(), rel=1e-6)


def test_an_episode_out_of_turns_is_not_bootstrapped(make_rollout):
    rollout = make_rollout(3, 2, reward=0.0)
    experience = _experience(
        [Group(rollouts=(rollout,))],
        AlgorithmConfig(algorithm="ppo"),
        critic=lambda micro_batch: torch.ones(2, dtype=torch.float64),
    )
    assert experience.returns_A.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"reinforce", "sft"}))
def test_equal_rewards_give_zero_advantage(make_rollout, name):
    group = Group(rollouts=tuple(make_rollout(2, 1 + i, reward=0.3) for i in range(4)))
    experience = _experience(
        [group],
        AlgorithmConfig(algorithm=name),
        critic=lambda micro_batch: torch.zeros(len(micro_batch.tokens_A)).double(),
    )
    assert experience.advantages_A.tolist() == [0.0] * 10


def test_kl_goes_where_the_row_says_unless_told(make_rollout):
    for name, row in ALGORITHMS.items():
        config = AlgorithmConfig(algorithm=name, kl_coef=0.1)
        assert (config.kl_in_loss, config.kl_in_reward) == (
            row.kl_in == "loss",
            row.kl_in == "reward",
        )
        assert AlgorithmConfig(algorithm=name, kl_coef=0.1, kl_in="reward").kl_in_reward
        assert AlgorithmConfig(algorithm=name, kl_coef=0.1, kl_in="loss").kl_in_loss
        assert not AlgorithmConfig(algorithm=name, kl_in="loss").kl_in_loss


def test_unknown_names_and_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="expected one of grpo, dr_grpo"):
        AlgorithmConfig(algorithm="gppo")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="epochs is 0"):
        AlgorithmConfig(epochs=0)
    with pytest.raises(ValueError, match="kl_coef is -1"):
        AlgorithmConfig(kl_coef=-1)
    with pytest.raises(ValueError, match=r"dual_clip is 1.1; expected more than 1 .* 1.28"):
        AlgorithmConfig(dual_clip=1.1)


@pytest.mark.parametrize("name", ["token_truncate", "token_mask"])
@pytest.mark.parametrize("ratio", [1.0, 1 / 3, 1 / 8, 1e-6])
def test_a_small_ratio_is_a_small_weight(name, ratio):
    log_ratios_A = torch.tensor([math.log(ratio), 0.0], dtype=torch.float64)
    weights_A = importance_weights(log_ratios_A, torch.tensor([1, 1]), name, limit=3.0)
    assert weights_A.tolist() == pytest.approx([ratio, 1.0])


@pytest.mark.parametrize("name", ["sequence_truncate", "sequence_mask"])
def test_a_small_product_of_ratios_weighs_the_whole_rollout(name):
    # 4 * 1/64 = 1/16 for both tokens of the first rollout.
    log_ratios_A = torch.tensor([4.0, 1 / 64, 0.5], dtype=torch.float64).log()
    weights_A = importance_weights(log_ratios_A, torch.tensor([2, 1]), name, limit=3.0)
    assert weights_A.tolist() == pytest.approx([1 / 16, 1 / 16, 0.5])
