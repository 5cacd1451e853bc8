"""The network over the choices of a turn, and policies of stable-baselines3 that use it.

All choices share their weights, and each is scored beside the others (Zaheer et al., "Deep Sets",
arXiv:1703.06114). Empty choices are masked here, so sb3-contrib is not needed.

Shapes: B batch, N choices, F features of a choice, E features of the episode, H hidden.
"""

from __future__ import annotations

import torch
from gymnasium.spaces import flatdim
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor, nn

from agents.sb3.choices import NUM_CHOICE_FEATURES as _F
from agents.sb3.choices import NUM_EPISODE_FEATURES as _E

_H = 64
_MASKED_LOGIT = -1e9  # finite, because torch computes an entropy of it
_MASKED_VALUE = -1.0  # below every return (at least 0), and harmless in DQN's loss


class ChoiceNetwork(nn.Module):
    """Scores the choices, empty ones with `masked_score`, and summarizes the state."""

    def __init__(self, num_choices: int, masked_score: float) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = num_choices, _H  # read by stable-baselines3
        self._masked_score = masked_score
        self._embed = nn.Sequential(nn.Linear(_E + _F, _H), nn.ReLU(), nn.Linear(_H, _H), nn.ReLU())
        self._score = nn.Sequential(nn.Linear(2 * _H, _H), nn.ReLU(), nn.Linear(_H, 1))
        self._summarize = nn.Sequential(nn.Linear(_H + _E, _H), nn.ReLU())

    def forward(self, features_BX: Tensor) -> tuple[Tensor, Tensor]:
        """Return [B, N] scores and a [B, H] summary of [B, E + N * F] features."""
        episode_BE, choices_BNF = features_BX[:, :_E], features_BX[:, _E:].unflatten(1, (-1, _F))
        episode_BNE = episode_BE[:, None].expand(-1, choices_BNF.shape[1], -1)
        embedded_BNH = self._embed(torch.cat([episode_BNE, choices_BNF], dim=2))
        # The first two features are the flags of a choice's kind. Embeddings are at least 0.
        empty_BN = choices_BNF[:, :, :2].sum(dim=2) == 0
        maximum_BH = embedded_BNH.masked_fill(empty_BN[:, :, None], 0).amax(dim=1)
        maximum_BNH = maximum_BH[:, None].expand_as(embedded_BNH)
        scores_BN = self._score(torch.cat([embedded_BNH, maximum_BNH], dim=2)).squeeze(2)
        summary_BH = self._summarize(torch.cat([maximum_BH, episode_BE], dim=1))
        return scores_BN.masked_fill(empty_BN, self._masked_score), summary_BH

    def forward_actor(self, features_BX: Tensor) -> Tensor:
        return self(features_BX)[0]

    def forward_critic(self, features_BX: Tensor) -> Tensor:
        return self(features_BX)[1]


class ChoiceActorCriticPolicy(ActorCriticPolicy):
    """For PPO and A2C: the scores are the logits."""

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = ChoiceNetwork(flatdim(self.action_space), _MASKED_LOGIT)  # type: ignore

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        # The base class adds a layer after the scores, with other weights for each choice.
        self.action_net = nn.Identity()


class ChoiceDQNPolicy(DQNPolicy):
    """For DQN: the scores are the values."""

    def make_q_net(self) -> QNetwork:
        """Return a Q network."""
        network = super().make_q_net()
        network.q_net = nn.Sequential(_ScoreNetwork(flatdim(self.action_space), _MASKED_VALUE))
        return network.to(self.device)


class _ScoreNetwork(ChoiceNetwork):
    def forward(self, features_BX: Tensor) -> Tensor:
        return super().forward(features_BX)[0]
