"""Advantages of action tokens.

Time steps are action tokens only: the last token before an observation and the first one after it
are consecutive.

Shapes: B rollouts, A action tokens of all of them in rollout order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.algorithms.segment_ops import rows_of, sum_by_rollout


def estimate_advantages(
    config: AlgorithmConfig,
    *,
    rewards_A: Tensor,
    values_A: Tensor,
    counts_B: Tensor,
    groups_B: Tensor,
    turns_A: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return [A] advantages and [A] returns, the targets of the critic, of an update.

    Args:
        config: settings of the algorithm; its row names the estimator.
        rewards_A: [A] reward of each action token: the episode's on its last one, minus the KL
            penalty on each if the KL is in the reward.
        values_A: [A] values of the critic; zeros without one.
        counts_B: [B] number of action tokens of each rollout.
        groups_B: [B] group of each rollout.
        turns_A: [A] turn of each action token in its rollout, ascending from 0.
    """
    name = config.row.advantage
    if name == "one":
        # Supervised training ignores rewards.
        return torch.ones_like(rewards_A), torch.ones_like(rewards_A)
    if name == "group_turn":
        return turn_advantages(rewards_A, counts_B, groups_B, turns_A, gamma=config.gamma)
    if name == "gae":
        advantages_A, returns_A = gae(
            rewards_A, values_A, counts_B, gamma=config.gamma, gae_lambda=config.gae_lambda
        )
        return whiten(advantages_A), returns_A
    if name in ("return", "return_whitened"):
        # Without a baseline; "return" is the default of ZeroSearch.
        returns_A = returns_to_go(rewards_A, counts_B, gamma=config.gamma)
        return whiten(returns_A) if name == "return_whitened" else returns_A, returns_A
    # The same undiscounted reward for every token of a rollout.
    totals_B = sum_by_rollout(rewards_A, counts_B)
    if name == "leave_one_out":
        advantages_B = leave_one_out(totals_B, groups_B)
    else:
        advantages_B = group_advantages(totals_B, groups_B, scale=name == "group")
    advantages_A = advantages_B.repeat_interleave(counts_B)
    if name == "group_whitened":
        advantages_A = whiten(advantages_A)
    return advantages_A, totals_B.repeat_interleave(counts_B)


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


def turn_advantages(
    rewards_A: Tensor, counts_B: Tensor, groups_B: Tensor, turns_A: Tensor, *, gamma: float
) -> tuple[Tensor, Tensor]:
    """Discounted return of each turn, normalized over all turns of its group.

    The reward of a turn is the sum of its tokens' rewards; `gamma` is the discount per turn. The
    other arguments and the results are those of `estimate_advantages`.
    """
    rows_A = rows_of(counts_B)
    begins_A = torch.ones(len(rewards_A), dtype=torch.bool)
    begins_A[1:] = (rows_A.diff() != 0) | (turns_A.diff() != 0)
    index_A = begins_A.cumsum(0) - 1
    rows_N = rows_A[begins_A]
    rewards_N = rewards_A.new_zeros(len(rows_N)).index_add_(0, index_A, rewards_A)
    turns_B = torch.bincount(rows_N, minlength=len(counts_B))
    returns_N = returns_to_go(rewards_N, turns_B, gamma=gamma)
    return group_advantages(returns_N, groups_B[rows_N])[index_A], returns_N[index_A]


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
