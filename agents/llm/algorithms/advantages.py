"""Advantages: how much better an action token did than was to be expected.

Time counts action tokens only: the token before a page and the first after it are neighbours,
whatever the environment said in between.

Shapes: B rollouts, A action tokens of all of them in rollout order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from agents.llm.algorithms.registry import AdvantageName, AlgorithmConfig
from agents.llm.algorithms.segment_ops import rows_of, sum_by_rollout


class GAE(NamedTuple):
    """[A] advantages, and [A] returns: what the critic should have said."""

    advantages_A: Tensor
    returns_A: Tensor


def group_advantages(
    rewards_B: Tensor, groups_B: Tensor, *, scale: bool = True, eps: float = 1e-6
) -> Tensor:
    """[B] each reward minus its group's mean, over the group's population std.

    Args:
        rewards_B: [B] episode rewards, or any other values to compare within groups.
        groups_B: [B] group of each.
        scale: whether to divide by the std at all; Dr.GRPO (arXiv:2503.20783) does not.
        eps: added to the std.

    Returns:
        Exactly zero where a group's rewards are all equal, so also in a group of one.

    Source: DeepSeekMath (arXiv:2402.03300), outcome supervision.
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
    """[B] each reward minus the mean of the others of its group; 0 in a group of one.

    Source: RLOO (arXiv:2402.14740).
    """
    sizes_B = torch.bincount(groups_B)[groups_B]
    centred_B = group_advantages(rewards_B, groups_B, scale=False)
    return centred_B * sizes_B / (sizes_B - 1).clamp_min(1)


def turn_returns(
    rewards_A: Tensor, counts_B: Tensor, turns_A: Tensor, *, gamma: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Rewards from a turn to its rollout's end, a later turn's discounted by gamma a turn.

    Args:
        rewards_A: [A] reward of each action token; a turn's is their sum.
        counts_B: [B] action tokens of each rollout.
        turns_A: [A] turn of each token within its rollout, ascending from 0.
        gamma: discount a turn, in [0, 1].

    Returns:
        [N] returns of all turns in order, and [A] the index into them of each token.
    """
    rows_A = rows_of(counts_B)
    changes_A = torch.ones(len(rewards_A), dtype=torch.bool)
    changes_A[1:] = (rows_A.diff() != 0) | (turns_A.diff() != 0)
    index_A = changes_A.cumsum(0) - 1
    turns_of_B = torch.bincount(rows_A[changes_A], minlength=len(counts_B))
    rewards_N = rewards_A.new_zeros(int(changes_A.sum())).index_add_(0, index_A, rewards_A)
    return returns_to_go(rewards_N, turns_of_B, gamma=gamma), index_A


def zero_variance_groups(rewards_B: Tensor, groups_B: Tensor) -> int:
    """Groups that teach nothing by comparison: every reward is the same."""
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
    """Shift to mean 0 and scale to population std 1; exactly zero where all are equal."""
    if len(advantages_A) == 0 or advantages_A.min() == advantages_A.max():
        return torch.zeros_like(advantages_A)
    spread = advantages_A.std(correction=0)
    return (advantages_A - advantages_A.mean()) / (spread + eps)


def returns_to_go(rewards_A: Tensor, counts_B: Tensor, *, gamma: float = 1.0) -> Tensor:
    """[A] rewards from a token to its rollout's end, a later one discounted by gamma a token."""
    no_values_A = torch.zeros_like(rewards_A)
    return gae(rewards_A, no_values_A, counts_B, gamma=gamma, gae_lambda=1.0).returns_A


def gae(
    rewards_A: Tensor, values_A: Tensor, counts_B: Tensor, *, gamma: float, gae_lambda: float
) -> GAE:
    """Generalised advantage estimation over action tokens.

    Args:
        rewards_A: [A] reward of each action token.
        values_A: [A] the critic's value before each.
        counts_B: [B] action tokens of each rollout.
        gamma: discount a token, in [0, 1].
        gae_lambda: 1 trusts the rewards, 0 the critic.

    After the last token the value is 0, also where the turn limit ended the episode: running out
    of turns is the policy's own doing.

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
    return GAE(advantages_A, advantages_A + values_A)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What advantages are computed from.

    Attributes:
        rewards_A: [A] reward of each action token: the episode's on the last one, less what KL
            in the reward takes off each.
        values_A: [A] the critic's values; zeros without one.
        counts_B: [B] action tokens of each rollout.
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


@dataclass(frozen=True, slots=True)
class Credit:
    """[A] advantages, and [A] returns that a critic is trained on."""

    advantages_A: Tensor
    returns_A: Tensor


def _return(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """The raw return on every token: no baseline, as in ZeroSearch's default."""
    returns_A = returns_to_go(outcome.rewards_A, outcome.counts_B, gamma=config.gamma)
    return Credit(returns_A, returns_A)


def _return_whitened(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """Returns whitened over all tokens of the update: the batch is the baseline."""
    returns_A = returns_to_go(outcome.rewards_A, outcome.counts_B, gamma=config.gamma)
    return Credit(whiten(returns_A), returns_A)


def _group_whitened(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """Rewards less their group's mean, whitened over all tokens of the update."""
    return _of_rollouts(
        outcome, group_advantages(outcome.totals_B, outcome.groups_B, scale=False), whiten
    )


def _group(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """The rollout's undiscounted reward against its group's, the same on every token."""
    return _of_rollouts(outcome, group_advantages(outcome.totals_B, outcome.groups_B))


def _group_centered(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """As GRPO without the division by the group's spread."""
    return _of_rollouts(outcome, group_advantages(outcome.totals_B, outcome.groups_B, scale=False))


def _leave_one_out(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """The rollout's reward less the mean of the others of its group."""
    return _of_rollouts(outcome, leave_one_out(outcome.totals_B, outcome.groups_B))


def _group_turn(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """The discounted return of each turn against those of all turns of the group."""
    returns_N, index_A = turn_returns(
        outcome.rewards_A, outcome.counts_B, outcome.turns_A, gamma=config.gamma
    )
    groups_A = outcome.groups_B.repeat_interleave(outcome.counts_B)
    groups_N = torch.zeros(len(returns_N), dtype=torch.long).index_put_((index_A,), groups_A)
    return Credit(group_advantages(returns_N, groups_N)[index_A], returns_N[index_A])


def _of_rollouts(
    outcome: Outcome, advantages_B: Tensor, finish: Callable[[Tensor], Tensor] = lambda a: a
) -> Credit:
    """One advantage for all tokens of a rollout."""
    counts_B = outcome.counts_B
    return Credit(
        finish(advantages_B.repeat_interleave(counts_B)),
        outcome.totals_B.repeat_interleave(counts_B),
    )


def _gae(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """Whitened GAE; returns stay on the scale of the reward."""
    estimate = gae(
        outcome.rewards_A,
        outcome.values_A,
        outcome.counts_B,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
    )
    return Credit(whiten(estimate.advantages_A), estimate.returns_A)


ADVANTAGES: Mapping[AdvantageName, Callable[[Outcome, AlgorithmConfig], Credit]] = {
    "group": _group,
    "group_centered": _group_centered,
    "group_turn": _group_turn,
    "group_whitened": _group_whitened,
    "leave_one_out": _leave_one_out,
    "return": _return,
    "return_whitened": _return_whitened,
    "gae": _gae,
}
