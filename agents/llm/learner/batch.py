"""Rollouts as tensors: padded for the model, flat over action tokens for the loss.

Everything per token exists for action tokens only, as flat [A] tensors in rollout order. The
positions come from `Rollout.action_mask`, never from ids: padding may equal EOS.

Shapes: B rollouts, T positions that the model reads, A action tokens of all B rollouts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from agents.llm.algorithms.segment_ops import rows_of
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.rollout.types import Group, Rollout
from zs_env.text.hashing import derive_seed

# Any valid id: causal attention keeps action positions from seeing the padding on their right.
_PADDING_ID = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """Input of one forward pass, and the location of its action tokens.

    Attributes:
        token_ids_BT: [B, T] right-padded ids; each row ends before its last action token, which
            is predicted but not read.
        predictors_A: [A] index, into the flattened [B * T], of the position that predicts each
            action token.
        target_ids_A: [A] the sampled action tokens.
        rows_A: [A] rollout of each action token, counted from 0 in this pass.
        tokens_A: [A] index of each action token in the batch's flat tensors.
    """

    token_ids_BT: Tensor
    predictors_A: Tensor
    target_ids_A: Tensor
    rows_A: Tensor
    tokens_A: Tensor

    def to(self, device: torch.device) -> MicroBatch:
        """Return a copy on another device."""
        return MicroBatch(**{one.name: getattr(self, one.name).to(device) for one in fields(self)})


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Rollouts of one update, without failed rollouts and those without an action token.

    Attributes:
        token_ids: B tensors [T_b], each up to and including its last action token.
        positions: B tensors [A_b], positions of the action tokens in it.
        counts_B: [B] number of action tokens of each rollout.
        sampled_logprobs_A: [A] log-probabilities under the sampling policy, nats.
        rewards_B: [B] episode rewards.
        groups_B: [B] index of each rollout's group, not necessarily consecutive.
        turns_A: [A] turn of each action token in its rollout, from 0.
    """

    token_ids: tuple[Tensor, ...]
    positions: tuple[Tensor, ...]
    counts_B: Tensor
    sampled_logprobs_A: Tensor
    rewards_B: Tensor
    groups_B: Tensor
    turns_A: Tensor

    @classmethod
    def from_groups(cls, groups: Sequence[Group]) -> Batch:
        """Batch the rollouts that did not fail and have at least one action token.

        A rollout has no action token if its prompt fills the whole context.

        Raises:
            ValueError: if a rollout does not begin with a prompt.
        """
        members = [
            (index, rollout)
            for index, group in enumerate(groups)
            for rollout in group.rollouts
            if rollout.has_actions and not rollout.failed
        ]
        positions = tuple(_action_positions(rollout) for _, rollout in members)
        token_ids = tuple(
            torch.tensor(rollout.token_ids[: int(where[-1]) + 1])
            for (_, rollout), where in zip(members, positions, strict=True)
        )
        actions = [
            (logprob, turn)
            for _, rollout in members
            for acted, logprob, turn in zip(
                rollout.action_mask, rollout.logprobs, rollout.turn_ids, strict=True
            )
            if acted
        ]
        return cls(
            token_ids=token_ids,
            positions=positions,
            counts_B=torch.tensor([len(where) for where in positions], dtype=torch.long),
            sampled_logprobs_A=torch.tensor([lp for lp, _ in actions], dtype=torch.float64),
            rewards_B=torch.tensor([r.reward for _, r in members], dtype=torch.float64),
            groups_B=torch.tensor([index for index, _ in members], dtype=torch.long),
            turns_A=torch.tensor([turn for _, turn in actions], dtype=torch.long),
        )

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def rows_A(self) -> Tensor:
        """[A] rollout of each action token."""
        return rows_of(self.counts_B)

    @property
    def num_tokens(self) -> int:
        """Number of action tokens of all rollouts."""
        return int(self.counts_B.sum())

    def micro_batches(
        self,
        max_tokens: int,
        rows: Sequence[int] | None = None,
        *,
        distributed: DistributedContext = SINGLE_PROCESS,
    ) -> list[MicroBatch]:
        """Split rollouts into forward passes of at most `max_tokens` positions.

        Rollouts of similar length share a pass, so that little is padded.

        Args:
            max_tokens: bound on rows x longest row; a single longer rollout gets its own pass.
            rows: the rollouts to take, in any order; None takes all.
            distributed: the run's ranks. The result is this rank's share of the passes; every
                rank has equally many, if need be with passes that have no actions.
        """
        chosen = range(len(self)) if rows is None else rows
        longest_first = sorted(chosen, key=lambda row: (-len(self.token_ids[row]), row))
        world_size = distributed.world_size
        splits = [
            self._split(longest_first[rank::world_size], max_tokens) for rank in range(world_size)
        ]
        mine = splits[distributed.rank]
        missing = max(map(len, splits)) - len(mine)
        return [self._pad(part) for part in [*mine, *[()] * missing]]

    def _split(self, longest_first: Sequence[int], max_tokens: int) -> list[Sequence[int]]:
        parts, begin = [], 0
        while begin < len(longest_first):
            width = self._width(longest_first[begin])
            end = begin + max(1, max_tokens // width)
            parts.append(longest_first[begin:end])
            begin = end
        return parts

    def _width(self, longest: int) -> int:
        """Positions of a pass whose longest rollout is `longest`: rounded up, by 1/8 at most.

        Passes of few different sizes reuse the memory and the kernels of earlier ones. The result
        is at most the length of the batch's longest rollout, which fits the model's context.
        """
        width = len(self.token_ids[longest]) - 1
        step = 1 << max(0, (width - 1).bit_length() - 4)
        return min(-(-width // step) * step, max(map(len, self.token_ids)) - 1)

    def _pad(self, rows: Sequence[int]) -> MicroBatch:
        """One pass over the rows; without rows it reads one position and adds zero to the loss."""
        width = self._width(rows[0]) if rows else 1
        token_ids_BT = torch.full((max(1, len(rows)), width), _PADDING_ID)
        starts_B = self.counts_B.cumsum(0) - self.counts_B
        none = torch.zeros(0, dtype=torch.long)
        predictors, targets, rows_A, tokens_A = [none], [none], [none], [none]
        for index, row in enumerate(rows):
            ids, positions = self.token_ids[row], self.positions[row]
            token_ids_BT[index, : len(ids) - 1] = ids[:-1]
            predictors.append(positions + (index * width - 1))
            targets.append(ids[positions])
            rows_A.append(torch.full_like(positions, index))
            tokens_A.append(torch.arange(len(positions)) + starts_B[row])
        return MicroBatch(
            token_ids_BT=token_ids_BT,
            predictors_A=torch.cat(predictors),
            target_ids_A=torch.cat(targets),
            rows_A=torch.cat(rows_A),
            tokens_A=torch.cat(tokens_A),
        )


def split_minibatches(
    num_rollouts: int, num_minibatches: int, epochs: int, *, seed: int, update: int = 0
) -> list[list[int]]:
    """Return the rollouts of each optimizer step: all of them once per epoch, in random order.

    The order follows from the seed, the number of the update and the epoch.
    """
    steps = []
    for epoch in range(epochs):
        # torch uses the lowest 32 bits of a seed.
        key = derive_seed(f"minibatches\0{seed}\0{update}\0{epoch}")
        generator = torch.Generator().manual_seed(key)
        order = torch.randperm(num_rollouts, generator=generator)
        parts = order.tensor_split(min(num_minibatches, num_rollouts))
        steps.extend(part.tolist() for part in parts)
    return steps


def _action_positions(rollout: Rollout) -> Tensor:
    """[A_b] positions of the action tokens."""
    positions = torch.tensor(rollout.action_mask).nonzero()[:, 0]
    if positions[0] == 0:
        raise ValueError(
            f"a rollout of question {rollout.transcript.question.id!r} begins with a policy token, "
            "which nothing predicts; expected a PROMPT segment of at least one token first"
        )
    return positions
