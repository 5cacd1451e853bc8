"""Advantages of action tokens.

Time steps are action tokens only: the last token before an observation and the first one after it
are consecutive.

Shapes: B rollouts, A action tokens of all of them in rollout order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.llm.algorithms.registry import AdvantageName, AlgorithmConfig
from agents.llm.algorithms.segment_ops import rows_of, sum_by_rollout


@dataclass(frozen=True, kw_only=True, slots=True)
class AdvantageInput:
    """Rewards and values of an update's action tokens.

    Attributes:
        rewards_A: [A] reward of each action token: the episode's on its last one, minus the KL
            penalty on each if the KL is in the reward.
        values_A: [A] values of the critic; zeros without one.
        counts_B: [B] number of action tokens of each rollout.
        groups_B: [B] group of each rollout.
        turns_A: [A] turn of each action token in its rollout, from 0.
    """

    rewards_A: Tensor
    values_A: Tensor
    counts_B: Tensor
    groups_B: Tensor
    turns_A: Tensor

    @property
    def totals_B(self) -> Tensor:
        """[B] undiscounted reward of each rollout."""
        return sum_by_rollout(self.rewards_A, self.counts_B)


def group_advantages(
    rewards_B: Tensor, groups_B: Tensor, *, scale: bool = True, eps: float = 1e-6
) -> Tensor:
    """[B] each reward minus the mean of its group, divided by the group's population std.

    Exactly zero if all rewards of a group are equal, hence also in a group of one.

    Args:
        rewards_B: [B] episode rewards, or any other values to compare within groups.
        groups_B: [B] group of each.
        scale: whether to divide by the std; Dr. GRPO (arXiv:2503.20783) does not.
        eps: added to the std.

    Source: DeepSeekMath (arXiv:2402.03300), inputs supervision.
    """
    advantages_B = torch.zeros_like(rewards_B)
    for group in groups_B.unique():
        members = groups_B == group
        rewards_G = rewards_B[members]
        if rewards_G.min() < rewards_G.max():
            spread = rewards_G.std(correction=0) + eps if scale else 1.0
            advantages_B[members] = (rewards_G - rewards_G.mean()) / spread
    return advantages_B


def leave_one_out(rewards_B: Tensor, groups_B: Tensor) -> Tensor:
    """[B] each reward minus the mean of the other rewards of its group; 0 in a group of one.

    Source: RLOO (arXiv:2402.14740).
    """
    sizes_B = torch.bincount(groups_B)[groups_B]
    centred_B = group_advantages(rewards_B, groups_B, scale=False)
    return centred_B * sizes_B / (sizes_B - 1).clamp_min(1)


def turn_returns(
    rewards_A: Tensor, counts_B: Tensor, turns_A: Tensor, *, gamma: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return the discounted sum of rewards from each turn to the end of its rollout.

    Args:
        rewards_A: [A] reward of each action token; the reward of a turn is their sum.
        counts_B: [B] action tokens of each rollout.
        turns_A: [A] turn of each token within its rollout, ascending from 0.
        gamma: discount per turn, in [0, 1].

    Returns:
        [N] returns of all turns in order, and [A] the turn index of each token.
    """
    rows_A = rows_of(counts_B)
    changes_A = torch.ones(len(rewards_A), dtype=torch.bool)
    changes_A[1:] = (rows_A.diff() != 0) | (turns_A.diff() != 0)
    index_A = changes_A.cumsum(0) - 1
    turns_of_B = torch.bincount(rows_A[changes_A], minlength=len(counts_B))
    rewards_N = rewards_A.new_zeros(int(changes_A.sum())).index_add_(0, index_A, rewards_A)
    return returns_to_go(rewards_N, turns_of_B, gamma=gamma), index_A


def zero_variance_groups(rewards_B: Tensor, groups_B: Tensor) -> int:
    """Number of groups in which all rewards are equal."""
    return sum(
        bool(rewards_B[groups_B == group].min() == rewards_B[groups_B == group].max())
        for group in groups_B.unique()
    )


def token_rewards(rewards_B: Tensor, counts_B: Tensor) -> Tensor:
    """[A] the episode's reward on its last action token, zero on the others."""
    rewards_A = rewards_B.new_zeros(int(counts_B.sum()))
    rewards_A[counts_B.cumsum(0) - 1] = rewards_B
    return rewards_A


def whiten(advantages_A: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Shift to mean 0 and scale to population std 1; exactly zero if all are equal."""
    if len(advantages_A) == 0 or advantages_A.min() == advantages_A.max():
        return torch.zeros_like(advantages_A)
    spread = advantages_A.std(correction=0)
    return (advantages_A - advantages_A.mean()) / (spread + eps)


def returns_to_go(rewards_A: Tensor, counts_B: Tensor, *, gamma: float = 1.0) -> Tensor:
    """[A] discounted sum of rewards from each token to the end of its rollout."""
    no_values_A = torch.zeros_like(rewards_A)
    return gae(rewards_A, no_values_A, counts_B, gamma=gamma, gae_lambda=1.0)[1]


def gae(
    rewards_A: Tensor, values_A: Tensor, counts_B: Tensor, *, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Generalized advantage estimation over action tokens.

    The value after the last token is 0, also if the turn limit ended the episode: the policy is
    responsible for running out of turns.

    Args:
        rewards_A: [A] reward of each action token.
        values_A: [A] the critic's value before each.
        counts_B: [B] action tokens of each rollout.
        gamma: discount per token, in [0, 1].
        gae_lambda: 1 uses the rewards only, 0 bootstraps from the next value.

    Returns:
        [A] advantages, and [A] returns: the targets of the critic.

    Source: arXiv:1506.02438.
    """
    columns_A = torch.arange(len(rewards_A)) - torch.repeat_interleave(
        counts_B.cumsum(0) - counts_B, counts_B
    )
    place = (columns_A, rows_of(counts_B))
    shape = (int(counts_B.max()) + 1 if len(counts_B) else 1, len(counts_B))
    rewards_TB, values_TB = rewards_A.new_zeros(shape), rewards_A.new_zeros(shape)
    rewards_TB[place], values_TB[place] = rewards_A, values_A
    advantages_TB = torch.zeros_like(rewards_TB)
    for time in range(shape[0] - 2, -1, -1):
        delta_B = rewards_TB[time] + gamma * values_TB[time + 1] - values_TB[time]
        advantages_TB[time] = delta_B + gamma * gae_lambda * advantages_TB[time + 1]
    advantages_A = advantages_TB[place]
    return advantages_A, advantages_A + values_A


def _return(inputs: AdvantageInput, config: AlgorithmConfig) -> tuple[Tensor, Tensor]:
    """The return of every token, without a baseline (the default of ZeroSearch)."""
    returns_A = returns_to_go(inputs.rewards_A, inputs.counts_B, gamma=config.gamma)
    return returns_A, returns_A


def _return_whitened(inputs: AdvantageInput, config: AlgorithmConfig) -> tuple[Tensor, Tensor]:
    """Returns whitened over all tokens of the update."""
    returns_A = returns_to_go(inputs.rewards_A, inputs.counts_B, gamma=config.gamma)
    return whiten(returns_A), returns_A


def _group_whitened(inputs: AdvantageInput, config: AlgorithmConfig) -> tuple[Tensor, Tensor]:
    """Rewards minus the mean of their group, whitened over all tokens of the update."""
    centred_A, returns_A = _group_centered(inputs, config)
    return whiten(centred_A), returns_A


def _group(inputs: AdvantageInput, config: AlgorithmConfig) -> tuple[Tensor, Tensor]:
    """Group-normalized undiscounted reward of the rollout, the same on every token."""
    return _of_rollouts(inputs, group_advantages(inputs.totals_B, inputs.groups_B))


def _group_centered(inputs: AdvantageInput, config: AlgorithmConfig) -> tuple[Tensor, Tensor]:
    """Reward of the rollout minus the mean of its group."""
    return _of_rollouts(inputs, group_advantages(inputs.totals_B, inputs.groups_B, scale=False))


def _leave_one_out(inputs: AdvantageInput, config: AlgorithmConfig) -> tuple[Tensor, Tensor]:
    """Reward of the rollout minus the mean of the other rollouts of its group."""
    return _of_rollouts(inputs, leave_one_out(inputs.totals_B, inputs.groups_B))


def _group_turn(inputs: AdvantageInput, config: AlgorithmConfig) -> tuple[Tensor, Tensor]:
    """Discounted return of each turn, normalized over all turns of the group."""
    returns_N, index_A = turn_returns(
        inputs.rewards_A, inputs.counts_B, inputs.turns_A, gamma=config.gamma
    )
    groups_A = inputs.groups_B.repeat_interleave(inputs.counts_B)
    groups_N = torch.zeros(len(returns_N), dtype=torch.long).index_put_((index_A,), groups_A)
    return group_advantages(returns_N, groups_N)[index_A], returns_N[index_A]


def _of_rollouts(inputs: AdvantageInput, advantages_B: Tensor) -> tuple[Tensor, Tensor]:
    """Spread one advantage and one return per rollout over its tokens."""
    counts_B = inputs.counts_B
    return (
        advantages_B.repeat_interleave(counts_B),
        inputs.totals_B.repeat_interleave(counts_B),
    )


def _gae(inputs: AdvantageInput, config: AlgorithmConfig) -> tuple[Tensor, Tensor]:
    """Whitened GAE; the returns are not whitened."""
    advantages_A, returns_A = gae(
        inputs.rewards_A,
        inputs.values_A,
        inputs.counts_B,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
    )
    return whiten(advantages_A), returns_A


def _one(inputs: AdvantageInput, config: AlgorithmConfig) -> tuple[Tensor, Tensor]:
    """Advantage 1 on every token: supervised training, which ignores rewards."""
    ones_A = torch.ones_like(inputs.rewards_A)
    return ones_A, ones_A


# Each returns [A] advantages and [A] returns, the targets of the critic.
AdvantageFunction = Callable[[AdvantageInput, AlgorithmConfig], tuple[Tensor, Tensor]]
ADVANTAGES: Mapping[AdvantageName, AdvantageFunction] = {
    "group": _group,
    "group_centered": _group_centered,
    "group_turn": _group_turn,
    "group_whitened": _group_whitened,
    "leave_one_out": _leave_one_out,
    "return": _return,
    "return_whitened": _return_whitened,
    "gae": _gae,
    "one": _one,
}
