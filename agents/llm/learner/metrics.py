"""Metrics of an update.

Losses are those of whole optimizer steps. Ratios, entropy and KL are means over the computed
tokens: rollouts without an advantage may be skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.llm.algorithms.advantages import zero_variance_groups
from agents.llm.learner.batch import Batch
from agents.llm.rollout.types import Group

_PER_COMPUTED_TOKEN = ("entropy", "kl", "approx_kl", "ratio_mean", "clip_fraction")


@dataclass(frozen=True, kw_only=True)
class UpdateReport:
    """Result of an update.

    Attributes:
        metrics: by name; means over the optimizer steps of the update.
        reason: why the update ended before its last step; "" if it did not.
        batch: the batch with a loss or gradient that is not finite; None otherwise.
    """

    metrics: Mapping[str, float]
    reason: str = ""
    batch: Batch | None = None

    @property
    def skipped(self) -> bool:
        """Whether the update ended before its last step."""
        return bool(self.reason)

    @property
    def failed(self) -> bool:
        """Whether a loss or gradient was not finite (a skip without a signal is no failure)."""
        return self.batch is not None


class StepMeans:
    """Sums of weighted metrics over micro-batches; `metrics` returns their means."""

    def __init__(self) -> None:
        self.num_steps = 0
        self._sums: dict[str, Tensor] = {}
        self._of_steps: dict[str, Tensor] = {}
        self._weight = torch.zeros(())
        self._logprob_gap = torch.zeros(())

    def add(self, **values: Tensor) -> None:
        """Add weighted sums of a micro-batch."""
        _add(self._sums, values)

    def add_step(self, **values: Tensor) -> None:
        """Add values of an optimizer step that are equal on all ranks."""
        _add(self._of_steps, values)
        self.num_steps += 1

    def add_tokens(self, weights_A: Tensor, gaps_A: Tensor) -> None:
        """Count computed tokens, and track the largest gap between learner and sampler.

        Args:
            weights_A: [A] weights of the tokens in the loss of the step.
            gaps_A: [A] recomputed minus sampled log-probability; used before the first step only,
                where the two should agree.
        """
        self._weight = self._weight + weights_A.sum().cpu()
        if self.num_steps == 0 and len(gaps_A):
            self._logprob_gap = torch.maximum(self._logprob_gap, gaps_A.detach().abs().max().cpu())

    @classmethod
    def merged(cls, parts: Sequence[StepMeans]) -> StepMeans:
        """Merge the sums of all ranks."""
        total = cls()
        total.num_steps, total._of_steps = parts[0].num_steps, parts[0]._of_steps
        for part in parts:
            _add(total._sums, part._sums)
            total._weight = total._weight + part._weight
            total._logprob_gap = torch.maximum(total._logprob_gap, part._logprob_gap)
        return total

    def metrics(self) -> dict[str, float]:
        """Return the means by name."""
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
    """Metrics of the input of an update; `rollouts` counts those that are trained on."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    num_failed = sum(rollout.failed for rollout in rollouts)
    return {
        "rollouts": float(len(batch)),
        "failed_rollouts": float(num_failed),
        "actionless_rollouts": float(len(rollouts) - num_failed - len(batch)),
        "zero_variance_groups": float(zero_variance_groups(batch.rewards_B, batch.groups_B)),
        "tokens": float(batch.num_tokens),
    }
