"""Algorithms as rows of a table: how credit is given, where the KL goes, whether there is a critic.

The learner is blind to their names. One more algorithm is one function that turns token rewards
into advantages, and one row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from agents.llm.advantage import gae, group_advantages, returns_to_go, whiten
from agents.llm.kl import KLEstimator
from agents.llm.loss import LossMean

AlgorithmName = Literal["grpo", "ppo", "reinforce", "reinforce_pp"]
KLPlace = Literal["loss", "reward"]


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig:
    """What is optimised.

    Attributes:
        name: the row of `ALGORITHMS`.
        clip_low: how far below 1 a probability ratio is still rewarded.
        clip_high: how far above.
        kl_coef: weight of the KL to the reference model; 0 needs no reference.
        kl_estimator: how it is estimated; None takes the algorithm's own.
        kl_place: added to the loss or taken off the reward; None takes the algorithm's own.
        entropy_coef: weight of the entropy bonus.
        loss_mean: whether tokens or rollouts weigh the same.
        gamma: discount per action token.
        gae_lambda: of generalised advantage estimation (ppo).
        value_clip: how far the critic may move in one update (ppo).
        num_minibatches: optimizer steps that an update is cut into.
        num_epochs: passes over each batch.
        recompute_old_logprobs: compare with the learner's own log-probabilities before the first
            step, not with those of the sampler; one forward pass more.
    """

    name: AlgorithmName = "grpo"
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl_coef: float = 0.0
    kl_estimator: KLEstimator | None = None
    kl_place: KLPlace | None = None
    entropy_coef: float = 0.0
    loss_mean: LossMean = "token"
    gamma: float = 1.0
    gae_lambda: float = 1.0
    value_clip: float = 0.2
    num_minibatches: int = 1
    num_epochs: int = 1
    recompute_old_logprobs: bool = False

    def __post_init__(self) -> None:
        if self.name not in ALGORITHMS:
            raise ValueError(
                f"algorithm is {self.name!r}; expected one of {', '.join(get_args(AlgorithmName))}"
            )
        for name in ("clip_low", "clip_high", "kl_coef", "entropy_coef", "value_clip"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("num_minibatches", "num_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")

    @property
    def algorithm(self) -> Algorithm:
        """The row of the table."""
        return ALGORITHMS[self.name]

    @property
    def estimator(self) -> KLEstimator:
        """The KL estimator in force."""
        return self.kl_estimator or self.algorithm.kl_estimator

    @property
    def kl_in_loss(self) -> bool:
        """Whether the loss has a KL term."""
        return self.kl_coef > 0 and (self.kl_place or self.algorithm.kl_place) == "loss"

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
    """

    rewards_A: Tensor
    values_A: Tensor
    counts_B: Tensor
    groups_B: Tensor


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
        kl_place: where its source puts the KL.
        kl_estimator: the estimator of its source.
        needs_critic: whether values are used.
        needs_groups: whether a group of one teaches nothing.
    """

    credit: Callable[[Outcome, AlgorithmConfig], Credit]
    kl_place: KLPlace
    kl_estimator: KLEstimator
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


def _grpo(outcome: Outcome, config: AlgorithmConfig) -> Credit:
    """The rollout's undiscounted reward against its group's, the same on every token."""
    counts_B = outcome.counts_B
    returns_A = returns_to_go(outcome.rewards_A, counts_B)
    totals_B = returns_A[counts_B.cumsum(0) - counts_B]
    advantages_B = group_advantages(totals_B, outcome.groups_B)
    return Credit(advantages_B.repeat_interleave(counts_B), returns_A)


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
    # DeepSeekMath, arXiv:2402.03300
    "grpo": Algorithm(credit=_grpo, kl_place="loss", kl_estimator="k3", needs_groups=True),
    # arXiv:1707.06347, with the settings of ZeroSearch, arXiv:2505.04588
    "ppo": Algorithm(credit=_ppo, kl_place="reward", kl_estimator="k1", needs_critic=True),
    # ZeroSearch, arXiv:2505.04588
    "reinforce": Algorithm(credit=_reinforce, kl_place="loss", kl_estimator="k3"),
    # arXiv:2501.03262
    "reinforce_pp": Algorithm(credit=_reinforce_pp, kl_place="reward", kl_estimator="k1"),
}
