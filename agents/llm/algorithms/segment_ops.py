"""Flat tensors of action tokens and the rollouts that they belong to.

Shapes: B rollouts, A action tokens of all of them in rollout order.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rows_of(counts_B: Tensor) -> Tensor:
    """[A] the rollout of each action token.

    Args:
        counts_B: [B] action tokens of each rollout.
    """
    return torch.repeat_interleave(torch.arange(len(counts_B)), counts_B)


def sum_by_rollout(values_A: Tensor, counts_B: Tensor) -> Tensor:
    """[B] sum of each rollout's values.

    Args:
        values_A: [A] one value for each action token.
        counts_B: [B] action tokens of each rollout.
    """
    return values_A.new_zeros(len(counts_B)).index_add_(0, rows_of(counts_B), values_A)
