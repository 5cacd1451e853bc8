"""What an update did, in numbers.

Losses are those of the whole optimizer step; ratios, entropy and KL are means over the tokens that
were computed, since rollouts without an advantage may have been spared the computation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.llm.algorithms.advantages import zero_variance_groups
from agents.llm.learner.batch import Batch
from agents.llm.learner.experience import Targets
from agents.llm.rollout.types import Group

_PER_COMPUTED_TOKEN = ("entropy", "kl", "ratio_mean", "clip_fraction")


@dataclass(frozen=True, kw_only=True)
class UpdateReport:
    """What an update did.

    Attributes:
        metrics: by name; means over the update's optimizer steps.
        skipped: whether it ended without its last step.
        reason: why it was skipped; "" where it was not.
        batch: where something was not finite, the batch it happened on; None otherwise.
    """

    metrics: Mapping[str, float]
    skipped: bool = False
    reason: str = ""
    batch: Batch | None = None

    @property
    def failed(self) -> bool:
        """Whether it was skipped for numbers that are not finite, not for want of a signal."""
        return self.batch is not None


class StepMeans:
    """Sums over micro-batches of what already carries its weight, turned into means at the end."""

    def __init__(self) -> None:
        self.num_steps = 0
        self._sums: dict[str, Tensor] = {}
        self._of_steps: dict[str, Tensor] = {}
        self._weight = torch.zeros(())
        self._logprob_gap = torch.zeros(())

    def add(self, **values: Tensor) -> None:
        """Add a micro-batch's shares."""
        _add(self._sums, values)

    def add_step(self, **values: Tensor) -> None:
        """Add what an optimizer step has one of, on all ranks alike."""
        _add(self._of_steps, values)
        self.num_steps += 1

    def add_tokens(self, weights_A: Tensor, gaps_A: Tensor) -> None:
        """Count tokens that were computed, and how far the learner is from the sampler.

        Args:
            weights_A: [A] of the tokens in the step's loss.
            gaps_A: [A] recomputed minus sampled log-probability; looked at only before the first
                step, where the two should agree.
        """
        self._weight = self._weight + weights_A.sum().cpu()
        if self.num_steps == 0 and len(gaps_A):
            self._logprob_gap = torch.maximum(self._logprob_gap, gaps_A.detach().abs().max().cpu())

    @classmethod
    def merged(cls, parts: Sequence[StepMeans]) -> StepMeans:
        """Those of all ranks as one."""
        total = cls()
        total.num_steps, total._of_steps = parts[0].num_steps, parts[0]._of_steps
        for part in parts:
            _add(total._sums, part._sums)
            total._weight = total._weight + part._weight
            total._logprob_gap = torch.maximum(total._logprob_gap, part._logprob_gap)
        return total

    def metrics(self) -> dict[str, float]:
        """Means by name."""
        weight = {name: float(self._weight) for name in _PER_COMPUTED_TOKEN}
        means = {
            name: float(total) / max(weight.get(name, self.num_steps), 1e-12)
            for name, total in (self._sums | self._of_steps).items()
        }
        return means | {"logprob_gap_max": float(self._logprob_gap)}


def _add(sums: dict[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, torch.zeros(())) + value.detach().cpu()


def input_metrics(groups: Sequence[Group], batch: Batch) -> dict[str, float]:
    """What an update was given; `rollouts` of it can be learnt from."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    num_failed = sum(rollout.failed for rollout in rollouts)
    return {
        "rollouts": float(len(batch)),
        "void_rollouts": float(num_failed),
        "unwritten_rollouts": float(len(rollouts) - num_failed - len(batch)),
        "zero_variance_groups": float(zero_variance_groups(batch.rewards_B, batch.groups_B)),
        "tokens": float(batch.num_tokens),
        "token_mismatch": float(sum(rollout.token_mismatch for rollout in rollouts)),
    }


def explained_variance(targets: Targets) -> float:
    """Share of the returns' variance that the critic foresaw; 0 where there is no variance."""
    variance = targets.returns_A.var(correction=0)
    if variance == 0:
        return 0.0
    error = (targets.returns_A - targets.old_values_A).var(correction=0)
    return float(1 - error / variance)
