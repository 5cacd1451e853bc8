"""The algorithms as rows of a table, and the settings of an update. Imports no torch.

The learner never compares names of algorithms: a new one is a case in
`advantages.estimate_advantages` and a row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

AlgorithmName = Literal[
    "grpo",
    "dr_grpo",
    "dapo",
    "gspo",
    "cispo",
    "grpo_turn",
    "rloo",
    "reinforce",
    "reinforce_pp",
    "reinforce_pp_baseline",
    "ppo",
]
AdvantageName = Literal[
    "group",
    "group_centered",
    "group_turn",
    "group_whitened",
    "leave_one_out",
    "return",
    "return_whitened",
    "gae",
    "one",
]
PolicyLossName = Literal["clip", "gspo", "cispo", "nll"]
LossAggregation = Literal["token", "sequence", "constant"]
KLEstimator = Literal["k1", "k2", "k3"]
KLIn = Literal["loss", "reward"]
ImportanceSamplingName = Literal[
    "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """Bounds of the probability ratio new/old.

    Attributes:
        low: ratios below 1 - low are clipped.
        high: ratios above 1 + high are clipped.
        dual: upper bound of the ratio where the advantage is negative; None for no bound.
            Source: arXiv:1912.09729.
    """

    low: float
    high: float
    dual: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Algorithm:
    """One row of `ALGORITHMS`: what a configuration leaves to the algorithm.

    Attributes:
        advantage: case in `advantages.estimate_advantages`.
        kl_in: whether its source adds the KL to the loss or subtracts it from the reward.
        kl_estimator: the KL estimator of its source.
        policy_loss: row of `losses.POLICY_LOSSES`.
        clip: how far below and above 1 a probability ratio may go.
        loss_aggregation: how token losses are averaged.
        needs_critic: whether a critic is trained.
        needs_groups: whether a group of one episode carries no signal.
    """

    advantage: AdvantageName
    kl_in: KLIn = "loss"
    kl_estimator: KLEstimator = "k3"
    policy_loss: PolicyLossName = "clip"
    # The upper bound is DAPO's: in our runs no algorithm was better with 0.2.
    clip: tuple[float, float] = (0.2, 0.28)
    loss_aggregation: LossAggregation = "token"
    needs_critic: bool = False
    needs_groups: bool = False


ALGORITHMS: Mapping[AlgorithmName | Literal["sft"], Algorithm] = {
    # DeepSeekMath, arXiv:2402.03300, with the mean over tokens and the upper clip of DAPO
    "grpo": Algorithm(advantage="group", needs_groups=True),
    # arXiv:2503.20783
    "dr_grpo": Algorithm(
        advantage="group_centered", loss_aggregation="constant", needs_groups=True
    ),
    # arXiv:2503.14476. The same row as grpo: dynamic sampling, the other half of DAPO, is the
    # setting `max_refills` of the rollouts.
    "dapo": Algorithm(advantage="group", needs_groups=True),
    # arXiv:2507.18071
    "gspo": Algorithm(
        advantage="group",
        policy_loss="gspo",
        clip=(3e-4, 4e-4),
        loss_aggregation="sequence",
        needs_groups=True,
    ),
    # arXiv:2506.13585; the bound is that of ScaleRL, arXiv:2510.13786
    "cispo": Algorithm(advantage="group", policy_loss="cispo", clip=(1.0, 4.0), needs_groups=True),
    # Turn-level credit, arXiv:2505.11821, with discounted returns
    "grpo_turn": Algorithm(advantage="group_turn"),
    # arXiv:2402.14740
    "rloo": Algorithm(
        advantage="leave_one_out", kl_in="reward", kl_estimator="k1", needs_groups=True
    ),
    # ZeroSearch, arXiv:2505.04588
    "reinforce": Algorithm(advantage="return"),
    # arXiv:2501.03262
    "reinforce_pp": Algorithm(advantage="return_whitened", kl_in="reward", kl_estimator="k1"),
    "reinforce_pp_baseline": Algorithm(
        advantage="group_whitened", kl_estimator="k2", needs_groups=True
    ),
    # arXiv:1707.06347, with KL in the reward as ZeroSearch has it, arXiv:2505.04588
    "ppo": Algorithm(advantage="gae", kl_in="reward", kl_estimator="k1", needs_critic=True),
    # Supervised fine-tuning on demonstrations: the mean cross-entropy of all action tokens.
    "sft": Algorithm(advantage="one", policy_loss="nll"),
}


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig:
    """What an update optimizes.

    Attributes:
        algorithm: how rewards become gradients.
        policy_loss: how the probability ratio and the advantage become a loss. None for the
            algorithm's own, as in the settings below.
        clip_low: the probability ratio is clipped below 1 - clip_low.
        clip_high: the probability ratio is clipped above 1 + clip_high.
        dual_clip: upper bound of the ratio where the advantage is negative, above 1 + clip_high; 3
            is usual, None is no bound.
        kl_coef: weight of the KL divergence from the starting policy; 0 needs no reference model.
        kl_estimator: estimator of the KL divergence.
        kl_in: whether the KL is added to the loss or subtracted from the reward.
        entropy_coef: weight of the entropy bonus.
        loss_aggregation: average over tokens, over episodes, or over a constant number of tokens.
        gamma: discount per policy token, or per turn (grpo_turn), in [0, 1].
        gae_lambda: lambda of generalized advantage estimation, in [0, 1] (ppo).
        value_clip: how far the critic's values may move in one step (ppo).
        critic_learning_rate: peak learning rate of the critic (ppo).
        minibatches: optimizer steps per pass over a step's rollouts.
        epochs: passes over a step's rollouts.
        recompute_logprobs: compute the old log-probabilities with the trainer's own model, instead
            of using those of the sampler; costs one forward pass. "auto" does it if the two differ
            on a few rollouts: the sampler then has another precision, engine or older weights.
        importance_sampling: correction for a sampler that differs from the trained policy (another
            engine, precision, or older weights); implies recompute_logprobs unless "none".
        importance_limit: largest importance weight.
    """

    algorithm: AlgorithmName | Literal["sft"] = "grpo"
    policy_loss: PolicyLossName | None = None
    clip_low: float | None = None
    clip_high: float | None = None
    dual_clip: float | None = None
    kl_coef: float = 0.0
    kl_estimator: KLEstimator | None = None
    kl_in: KLIn | None = None
    entropy_coef: float = 0.0
    loss_aggregation: LossAggregation | None = None
    gamma: float = 1.0
    gae_lambda: float = 1.0
    value_clip: float = 0.2
    critic_learning_rate: float = 1e-3
    minibatches: int = 1
    epochs: int = 1
    recompute_logprobs: bool | Literal["auto"] = "auto"
    importance_sampling: ImportanceSamplingName = "none"
    importance_limit: float = 3.0

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ValueError(
                f"algorithm is {self.algorithm!r}; expected one of "
                f"{', '.join(get_args(AlgorithmName))}"
            )
        for name in ("clip_low", "clip_high", "kl_coef", "entropy_coef", "value_clip"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("minibatches", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number in [0, 1]")
        if self.dual_clip is not None and self.dual_clip <= 1 + self.clip.high:
            raise ValueError(
                f"dual_clip is {self.dual_clip}; expected more than 1 + clip_high = "
                f"{1 + self.clip.high}, or None"
            )
        for name in ("importance_limit", "critic_learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number above 0")

    @property
    def row(self) -> Algorithm:
        """The algorithm's row of the table."""
        return ALGORITHMS[self.algorithm]

    @property
    def needs_groups(self) -> bool:
        """Whether a group of one episode, or of equal rewards, carries no signal.

        Undiscounted, the return of each turn is the reward of the episode.
        """
        undiscounted_turns = self.row.advantage == "group_turn" and self.gamma == 1
        return self.row.needs_groups or undiscounted_turns

    @property
    def clip(self) -> Clip:
        """The bounds in force."""
        own = self.row.clip
        return Clip(
            low=own[0] if self.clip_low is None else self.clip_low,
            high=own[1] if self.clip_high is None else self.clip_high,
            dual=self.dual_clip,
        )

    @property
    def aggregation(self) -> LossAggregation:
        """The loss aggregation in force."""
        return self.loss_aggregation or self.row.loss_aggregation

    @property
    def recomputes(self) -> bool:
        """Whether old log-probabilities are always computed by the trainer's own model."""
        return self.recompute_logprobs is True or self.importance_sampling != "none"

    @property
    def loss(self) -> PolicyLossName:
        """The policy loss in force."""
        return self.policy_loss or self.row.policy_loss

    @property
    def estimator(self) -> KLEstimator:
        """The KL estimator in force."""
        return self.kl_estimator or self.row.kl_estimator

    @property
    def kl_in_loss(self) -> bool:
        """Whether the loss has a KL term."""
        return self.kl_coef > 0 and (self.kl_in or self.row.kl_in) == "loss"

    @property
    def kl_in_reward(self) -> bool:
        """Whether a KL penalty is subtracted from every token's reward."""
        return self.kl_coef > 0 and not self.kl_in_loss
