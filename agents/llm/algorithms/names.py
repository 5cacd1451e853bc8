"""What may be chosen by name where an update is configured. Imports no torch."""

from __future__ import annotations

from typing import Literal

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
PolicyLossName = Literal["clip", "gspo", "cispo"]
LossAggregation = Literal["token", "sequence", "constant"]
KLEstimator = Literal["k1", "k2", "k3"]
KLIn = Literal["loss", "reward"]
ImportanceSamplingName = Literal[
    "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"
]
