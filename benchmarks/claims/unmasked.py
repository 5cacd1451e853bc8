"""Trains on the tokens of pages, to measure the effect of the loss mask.

The mask is derived from the source of a token, so this study changes the source: tokens of the
environment become tokens of the policy, with its log-probabilities at the start of the update. They
get the advantage of their episode, as in the original without its mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from agents.llm.learner.batch import Batch, MicroBatch
from agents.llm.learner.experience import Scorer, score
from agents.llm.learner.learner import Learner
from agents.llm.learner.metrics import UpdateReport
from agents.llm.rollout.types import Group, Rollout, Segment, Source


@contextmanager
def pages_unmasked() -> Iterator[None]:
    """Let every learner of this process train on pages too, within this context."""
    masked = Learner.update

    def update(self: Learner, groups: Sequence[Group]) -> UpdateReport:
        def policy(micro_batch: MicroBatch) -> Tensor:
            with torch.no_grad():
                return self._logprobs(self._policy, micro_batch)[0]

        max_tokens = self.optimizer_config.tokens_per_micro_batch
        return masked(self, unmask(groups, policy, max_tokens=max_tokens))

    Learner.update = update  # type: ignore[method-assign]
    try:
        yield
    finally:
        Learner.update = masked  # type: ignore[method-assign]


def unmask(groups: Sequence[Group], policy: Scorer, *, max_tokens: int) -> list[Group]:
    """Relabel all tokens except those of prompts as tokens of the policy.

    Args:
        groups: of the rollouts; failed ones and those without actions are unchanged.
        policy: returns the log-probabilities of a micro-batch under the current policy.
        max_tokens: positions of one forward pass.
    """
    relabelled = [replace(group, rollouts=tuple(map(_relabel, group.rollouts))) for group in groups]
    batch = Batch.from_groups(relabelled)
    scores_A = iter(score(batch, policy, max_tokens).tolist())
    return [
        replace(
            group,
            rollouts=tuple(
                _scored(old, new, scores_A) if _is_trained(old) else old
                for old, new in zip(group.rollouts, changed.rollouts, strict=True)
            ),
        )
        for group, changed in zip(groups, relabelled, strict=True)
    ]


def _is_trained(rollout: Rollout) -> bool:
    return rollout.has_actions and not rollout.failed


def _relabel(rollout: Rollout) -> Rollout:
    """Return the environment's tokens as tokens of the policy, without log-probabilities."""
    if not _is_trained(rollout):
        return rollout
    return replace(
        rollout,
        segments=tuple(
            replace(segment, source=Source.POLICY, logprobs=(0.0,) * len(segment.token_ids))
            if segment.source is Source.ENVIRONMENT
            else segment
            for segment in rollout.segments
        ),
    )


def _scored(old: Rollout, new: Rollout, scores_A: Iterator[float]) -> Rollout:
    """Return the relabelled rollout with scores; sampled tokens keep their log-probabilities."""

    def scored(before: Segment, after: Segment) -> Segment:
        if after.source is not Source.POLICY:
            return after
        scores = tuple(next(scores_A) for _ in after.token_ids)
        return after if before.source is Source.POLICY else replace(after, logprobs=scores)

    pairs = zip(old.segments, new.segments, strict=True)
    return replace(new, segments=tuple(scored(before, after) for before, after in pairs))
