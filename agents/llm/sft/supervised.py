"""Supervised training on demonstrations with the learner: its algorithm "sft".

The loss is the mean cross-entropy of the policy tokens of a step. Prompts and observations are not
trained, as in RL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.learner.batch import Batch
from agents.llm.learner.learner import Learner
from agents.llm.rollout.types import Group, Rollout

# The settings of a learner whose updates are single supervised steps.
SUPERVISED = AlgorithmConfig(algorithm="sft")


def train_steps(
    learner: Learner,
    rollouts: Sequence[Rollout],
    steps: Sequence[Sequence[int]],
    *,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Make the steps that the learner has not made yet, and return their losses.

    Args:
        learner: with the algorithm `SUPERVISED`; its `updates` is the index of the next step.
        rollouts: demonstrations; their log-probabilities and rewards are not used.
        steps: rollouts of each optimizer step, from `plan_steps`.
        on_step: called after each step with its 0-based index and loss, nats per policy token.

    Raises:
        FloatingPointError: if a loss or gradient is not finite.
    """
    losses = []
    for step in range(learner.updates, len(steps)):
        batch = [Group(rollouts=tuple(rollouts[row] for row in steps[step]))]
        report = learner.update(batch)
        if report.skipped:
            raise FloatingPointError(
                f"supervised step {step} was skipped: {report.reason}; expected finite numbers: "
                "lower the learning rate, or turn autocast off"
            )
        losses.append(report.metrics["loss"])
        if on_step is not None:
            on_step(step, losses[-1])
    return losses


def mean_loss(learner: Learner, rollouts: Sequence[Rollout]) -> float:
    """Return the mean cross-entropy of the rollouts' policy tokens, nats per token."""
    return -float(learner.score(Batch.from_groups([Group(rollouts=tuple(rollouts))])).mean())


def plan_steps(
    rollouts: Sequence[Rollout],
    *,
    tokens_per_step: int,
    epochs: float = 1.0,
    num_steps: int | None = None,
    seed: int = 0,
) -> list[list[int]]:
    """Return the rollouts of each step: a new random order every epoch, none twice in a step.

    Args:
        rollouts: demonstrations.
        tokens_per_step: most tokens (of all sources) of a step; at least one rollout.
        epochs: passes over the rollouts, if `num_steps` is None.
        num_steps: number of steps, over as many epochs as needed.
        seed: seed of the order.

    Raises:
        ValueError: if there are no rollouts.
    """
    if not rollouts:
        raise ValueError("no rollouts to train on; expected at least one demonstration")
    generator = torch.Generator().manual_seed(seed)
    lengths = [len(rollout.token_ids) for rollout in rollouts]
    wanted = round(epochs * len(rollouts)) if num_steps is None else None
    steps: list[list[int]] = []
    rows: list[int] = []
    size = taken = 0
    while True:
        for row in torch.randperm(len(rollouts), generator=generator).tolist():
            full = size + lengths[row] > tokens_per_step
            if rows and (full or taken == wanted or row in rows):
                steps.append(rows)
                rows, size = [], 0
            if taken == wanted or len(steps) == num_steps:
                return steps
            rows.append(row)
            size += lengths[row]
            taken += 1
