"""Algorithms as rows of a table: how credit is given, where the KL goes, whether there is a critic.

The learner is blind to their names. One more algorithm is one function that turns token rewards
into advantages, and one row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from agents.llm.algorithms.advantages import (
    gae,
    group_advantages,
    leave_one_out,
    returns_to_go,
    turn_returns,
    whiten,
)
from agents.llm.algorithms.losses import Clip
from agents.llm.algorithms.names import (
    AlgorithmName,
    ImportanceSamplingName,
    KLEstimator,
    KLIn,
    LossAggregation,
    PolicyLossName,
)
from agents.llm.algorithms.segment_ops import sum_by_rollout


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig:
    """What is optimised.

    Attributes:
        name: the row of `ALGORITHMS`.
        policy_loss: row of `POLICY_LOSSES`; None takes the algorithm's own.
        clip_low: how far below 1 a probability ratio is still rewarded; None takes the
            algorithm's own, as for `clip_high`.
        clip_high: how far above.
        dual_clip: the most that a ratio counts where the advantage is negative, above 1; None for
            no bound.
        kl_coef: weight of the KL to the reference model; 0 needs no reference.
        kl_estimator: how it is estimated; None takes the algorithm's own.
        kl_in: added to the loss or taken off the reward; None takes the algorithm's own.
        entropy_coef: weight of the entropy bonus.
        loss_aggregation: what a token weighs; None takes the algorithm's own.
        loss_divisor: of the loss mean "constant": most action tokens of a rollout.
        gamma: discount per action token; per turn for grpo_turn.
        gae_lambda: of generalised advantage estimation (ppo).
        value_clip: how far the critic may move in one update (ppo).
        num_minibatches: optimizer steps that an update is cut into.
        num_epochs: passes over each batch.
        recompute_old_logprobs: compare with the learner's own log-probabilities before the first
            step, not with those of the sampler; one forward pass more.
        importance_sampling: how tokens are weighted for a sampler that is not the learner; anything but
            "none" recomputes old log-probabilities.
        importance_limit: largest such weight.
    """

    name: AlgorithmName = "grpo"
    policy_loss: PolicyLossName | None = None
    clip_low: float | None = None
    clip_high: float | None = None
    dual_clip: float | None = None
    kl_coef: float = 0.0
    kl_estimator: KLEstimator | None = None
    kl_in: KLIn | None = None
    entropy_coef: float = 0.0
    loss_aggregation: LossAggregation | None = None
    loss_divisor: int = 1024
    gamma: float = 1.0
    gae_lambda: float = 1.0
    value_clip: float = 0.2
    num_minibatches: int = 1
    num_epochs: int = 1
    recompute_old_logprobs: bool = False
    importance_sampling: ImportanceSamplingName = "none"
    importance_limit: float = 3.0

    def __post_init__(self) -> None:
        if self.name not in ALGORITHMS:
            raise ValueError(
                f"algorithm is {self.name!r}; expected one of {', '.join(get_args(AlgorithmName))}"
            )
        for name in ("clip_low", "clip_high", "kl_coef", "entropy_coef", "value_clip"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("num_minibatches", "num_epochs", "loss_divisor"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.dual_clip is not None and self.dual_clip <= 1 + self.clip.high:
            raise ValueError(
                f"dual_clip is {self.dual_clip}; expected more than 1 + clip_high = "
                f"{1 + self.clip.high}, or None"
            )
        if self.importance_limit <= 0:
            raise ValueError(f"importance_limit is {self.importance_limit}; expected more than 0")

    @property
    def algorithm(self) -> Algorithm:
        """The row of the table."""
        return ALGORITHMS[self.name]

    @property
    def clip(self) -> Clip:
        """The bounds in force."""
        own = self.algorithm.clip
        return Clip(
            low=own[0] if self.clip_low is None else self.clip_low,
            high=own[1] if self.clip_high is None else self.clip_high,
            dual=self.dual_clip,
        )

    @property
    def mean(self) -> LossAggregation:
        """The loss mean in force."""
        return self.loss_aggregation or self.algorithm.loss_aggregation

    @property
    def recomputes(self) -> bool:
        """Whether old log-probabilities are the learner's own."""
        return self.recompute_old_logprobs or self.importance_sampling != "none"

    @property
    def estimator(self) -> KLEstimator:
        """The KL estimator in force."""
        return self.kl_estimator or self.algorithm.kl_estimator

    @property
    def kl_in_loss(self) -> bool:
        """Whether the loss has a KL term."""
        return self.kl_coef > 0 and (self.kl_in or self.algorithm.kl_in) == "loss"

    @property
    def kl_in_reward(self) -> bool:
        """Whether a KL penalty is taken off every token's reward."""
        return self.kl_coef > 0 and not self.kl_in_loss


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Algorithm:
    """One row.

    Attributes:
        credit: advantages of an update's tokens.
        kl_in: where its source puts the KL.
        kl_estimator: the estimator of its source.
        policy_loss: the row of `POLICY_LOSSES` of its source.
        clip: how far below and above 1 a ratio counts.
        loss_aggregation: what a token weighs.
        needs_critic: whether values are used.
        needs_groups: whether a group of one has_signal nothing.
    """

    credit: Callable[[Outcome, AlgorithmConfig], Credit]
    kl_in: KLIn
    kl_estimator: KLEstimator
    policy_loss: PolicyLossName = "clip"
    # The upper bound is DAPO's: nothing that we have seen is better off with 0.2.
    clip: tuple[float, float] = (0.2, 0.28)
    loss_aggregation: LossAggregation = "token"
    needs_critic: bool = False
    needs_groups: bool = False


def _reinforce(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """The raw return on every token: no baseline, as in ZeroSearch's default."""
    returns_A = returns_to_go(outcome.rewards_A, outcome.counts_B, gamma=config.gamma)
    return Credit(returns_A, returns_A)


def _reinforce_pp(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """Returns whitened over all tokens of the update: the batch is the baseline."""
    returns_A = returns_to_go(outcome.rewards_A, outcome.counts_B, gamma=config.gamma)
    return Credit(whiten(returns_A), returns_A)


def _reinforce_pp_baseline(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """Rewards less their group's mean, whitened over all tokens of the update."""
    return _of_rollouts(
        outcome, group_advantages(outcome.totals_B, outcome.groups_B, scale=False), whiten
    )


def _grpo(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """The rollout's undiscounted reward against its group's, the same on every token."""
    return _of_rollouts(outcome, group_advantages(outcome.totals_B, outcome.groups_B))


def _dr_grpo(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """As GRPO without the division by the group's spread."""
    return _of_rollouts(outcome, group_advantages(outcome.totals_B, outcome.groups_B, scale=False))


def _rloo(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """The rollout's reward less the mean of the others of its group."""
    return _of_rollouts(outcome, leave_one_out(outcome.totals_B, outcome.groups_B))


def _grpo_turn(outcome: Outcome, config: AlgorithmConfig) -> Credit:
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


def _ppo(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """Whitened GAE; returns stay on the scale of the reward."""
    estimate = gae(
        outcome.rewards_A,
        outcome.values_A,
        outcome.counts_B,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
    )
    return Credit(whiten(estimate.advantages_A), estimate.returns_A)


ALGORITHMS: Mapping[AlgorithmName, Algorithm] = {
    # DeepSeekMath, arXiv:2402.03300, with the mean over tokens and the upper clip of DAPO
    "grpo": Algorithm(credit=_grpo, kl_in="loss", kl_estimator="k3", needs_groups=True),
    # arXiv:2503.20783
    "dr_grpo": Algorithm(
        credit=_dr_grpo,
        kl_in="loss",
        kl_estimator="k3",
        loss_aggregation="constant",
        needs_groups=True,
    ),
    # arXiv:2503.14476: our grpo, for those who look for it by this name; the dynamic sampling that
    # makes it another algorithm is the run's setting `max_refills`
    "dapo": Algorithm(credit=_grpo, kl_in="loss", kl_estimator="k3", needs_groups=True),
    # arXiv:2507.18071
    "gspo": Algorithm(
        credit=_grpo,
        kl_in="loss",
        kl_estimator="k3",
        policy_loss="gspo",
        clip=(3e-4, 4e-4),
        loss_aggregation="sequence",
        needs_groups=True,
    ),
    # arXiv:2506.13585; the bound is that of ScaleRL, arXiv:2510.13786
    "cispo": Algorithm(
        credit=_grpo,
        kl_in="loss",
        kl_estimator="k3",
        policy_loss="cispo",
        clip=(1.0, 4.0),
        needs_groups=True,
    ),
    # Turn-level credit, arXiv:2505.11821, with discounted returns
    "grpo_turn": Algorithm(credit=_grpo_turn, kl_in="loss", kl_estimator="k3"),
    # arXiv:2402.14740
    "rloo": Algorithm(credit=_rloo, kl_in="reward", kl_estimator="k1", needs_groups=True),
    # ZeroSearch, arXiv:2505.04588
    "reinforce": Algorithm(credit=_reinforce, kl_in="loss", kl_estimator="k3"),
    # arXiv:2501.03262
    "reinforce_pp": Algorithm(credit=_reinforce_pp, kl_in="reward", kl_estimator="k1"),
    "reinforce_pp_baseline": Algorithm(
        credit=_reinforce_pp_baseline, kl_in="loss", kl_estimator="k2", needs_groups=True
    ),
    # arXiv:1707.06347, with KL in the reward as ZeroSearch has it, arXiv:2505.04588
    "ppo": Algorithm(credit=_ppo, kl_in="reward", kl_estimator="k1", needs_critic=True),
}
