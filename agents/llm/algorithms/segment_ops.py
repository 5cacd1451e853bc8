"""Operations on flat tensors of action tokens, by rollout (segment sums).

Shapes: B rollouts, A action tokens of all of them in rollout order.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rows_of(counts_B: Tensor) -> Tensor:
    """[A] rollout index of each action token, from the [B] numbers of action tokens."""
    return torch.repeat_interleave(torch.arange(len(counts_B)), counts_B)


def sum_by_rollout(values_A: Tensor, counts_B: Tensor) -> Tensor:
    """[B] sum of the values of each rollout, from one value per action token."""
    return values_A.new_zeros(len(counts_B)).index_add_(0, rows_of(counts_B), values_A)
