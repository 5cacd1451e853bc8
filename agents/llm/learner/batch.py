"""Rollouts as tensors: padded where the model reads, flat where the loss counts.

Everything per token exists for action tokens only, as flat [A] tensors in rollout order. There is
no mask to apply or to forget, and nothing is ever inferred from an id: padding may equal EOS.

Shapes: B rollouts, T positions the model reads, A action tokens of all B rollouts together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from agents.llm.algorithms.segment_ops import rows_of
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.learner.lines import Reading, cut_lines, make_line
from agents.llm.learner.packing import Packing, Span
from agents.llm.rollout.types import Group, Rollout, Source

# Any id of the vocabulary would do: no action position ever attends to padding on its right.
_PADDING_ID = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """What one forward pass reads, and where its action tokens are.

    Attributes:
        token_ids_BT: [B, T] right-padded ids; each row ends before its last action token, which
            nothing has to read.
        predictors_A: [A] index, into the flattened [B * T], of the position that predicts each
            action token.
        target_ids_A: [A] the action tokens, as they were sampled.
        rows_A: [A] the rollout of each action token, counted from 0 in this pass.
        tokens_A: [A] index of each into the batch's flat tensors.
        packing: where the rollouts are that share a single row; None where each has its own.
    """

    token_ids_BT: Tensor
    predictors_A: Tensor
    target_ids_A: Tensor
    rows_A: Tensor
    tokens_A: Tensor
    packing: Packing | None = None

    @classmethod
    def without_actions(cls, *, packed: bool) -> MicroBatch:
        """One position and no action token: a pass over it computes zeros.

        Args:
            packed: whether it is for models that read lines.
        """
        nothing = torch.zeros(0, dtype=torch.long)
        line = Packing((Span(0, 1, 0, 0),), torch.zeros(1, dtype=torch.long))
        return cls(
            token_ids_BT=torch.full((1, 1), _PADDING_ID),
            predictors_A=nothing,
            target_ids_A=nothing,
            rows_A=nothing,
            tokens_A=nothing,
            packing=line if packed else None,
        )

    def to(self, device: torch.device) -> MicroBatch:
        """The same on another device."""
        return MicroBatch(
            token_ids_BT=self.token_ids_BT.to(device),
            predictors_A=self.predictors_A.to(device),
            target_ids_A=self.target_ids_A.to(device),
            rows_A=self.rows_A.to(device),
            tokens_A=self.tokens_A.to(device),
            packing=None if self.packing is None else self.packing.to(device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Rollouts of one update. Void ones never get in, nor those without a word of the policy.

    Attributes:
        token_ids: B tensors [T_b], each up to and with its last action token.
        positions: B tensors [A_b], where the action tokens are in it.
        counts_B: [B] action tokens of each rollout.
        sampled_logprobs_A: [A] what the sampling policy gave its tokens, nats.
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
        """Every rollout that is not void and in which the policy wrote something, by group.

        A prompt may fill the whole context: nothing was done there that could be done otherwise.

        Raises:
            ValueError: where a rollout does not begin with a prompt.
        """
        members = [
            (index, rollout)
            for index, group in enumerate(groups)
            for rollout in group.rollouts
            if rollout.has_actions and not rollout.failed
        ]
        return cls._from_members(members)

    @classmethod
    def from_rollouts(cls, rollouts: Iterable[Rollout]) -> Batch:
        """Rollouts that have nothing to do with each other: each is a group of its own.

        Raises:
            ValueError: where one cannot be trained on: it does not begin with a prompt, or the
                policy wrote nothing.
        """
        members = [(n, rollout) for n, rollout in enumerate(rollouts) if not rollout.failed]
        return cls._from_members(members)

    @classmethod
    def _from_members(cls, members: Sequence[tuple[int, Rollout]]) -> Batch:
        positions = tuple(_action_positions(rollout) for _, rollout in members)
        token_ids = tuple(
            torch.tensor(rollout.token_ids[: int(where[-1]) + 1])
            for (_, rollout), where in zip(members, positions, strict=True)
        )
        logprobs = [
            logprob
            for _, rollout in members
            for segment in rollout.segments
            for logprob in segment.logprobs or ()
        ]
        return cls(
            token_ids=token_ids,
            positions=positions,
            counts_B=torch.tensor([len(where) for where in positions], dtype=torch.long),
            sampled_logprobs_A=torch.tensor(logprobs, dtype=torch.float64),
            rewards_B=torch.tensor([r.reward for _, r in members], dtype=torch.float64),
            groups_B=torch.tensor([index for index, _ in members], dtype=torch.long),
            turns_A=torch.tensor(
                [turn for _, rollout in members for turn in rollout.turn_ids if turn >= 0],
                dtype=torch.long,
            ),
        )

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def rows_A(self) -> Tensor:
        """[A] the rollout of each action token."""
        return rows_of(self.counts_B)

    @property
    def num_tokens(self) -> int:
        """Action tokens of all rollouts."""
        return int(self.counts_B.sum())

    def micro_batches(
        self,
        max_tokens: int,
        rows: Sequence[int] | None = None,
        *,
        share_prompts: bool = False,
        distributed: DistributedContext = SINGLE_PROCESS,
    ) -> list[MicroBatch]:
        """Cut rollouts into forward passes of at most `max_tokens` positions.

        Args:
            max_tokens: bound on rows x longest row; a single rollout beyond it goes alone.
            rows: the rollouts to take, in any order; None takes all.
            share_prompts: lay rollouts out in one line a pass, equal prompts once, instead of
                padding those of like length.
            distributed: the run's ranks. The result is this rank's share of the passes; every
                rank has equally many, if need be with passes that have no actions.
        """
        chosen = range(len(self)) if rows is None else rows
        longest_first = sorted(chosen, key=lambda row: (-len(self.token_ids[row]), row))
        cuts: list[list[Sequence[int]]] = []
        for rank in range(distributed.world_size):
            if share_prompts:  # those of a group stay together
                share = replace(distributed, rank=rank).shard(sorted(chosen))
                lines = cut_lines(map(self._reading, share), max_tokens)
                cuts.append([[reading.row for reading in line] for line in lines])
            else:
                cuts.append(
                    self._cut_padded(longest_first[rank :: distributed.world_size], max_tokens)
                )
        mine = cuts[distributed.rank]
        lay_out = self._line if share_prompts else self._padded
        missing = max(map(len, cuts)) - len(mine)
        passes = [lay_out(part) for part in mine]
        return passes + [MicroBatch.without_actions(packed=share_prompts)] * missing

    def _cut_padded(self, longest_first: Sequence[int], max_tokens: int) -> list[Sequence[int]]:
        parts, begin = [], 0
        while begin < len(longest_first):
            width = len(self.token_ids[longest_first[begin]]) - 1
            end = begin + max(1, max_tokens // width)
            parts.append(longest_first[begin:end])
            begin = end
        return parts

    def _reading(self, row: int) -> Reading:
        return Reading(row, self.token_ids[row], self.positions[row])

    def _line(self, rows: Sequence[int]) -> MicroBatch:
        line = make_line(map(self._reading, rows))
        return self._gather(rows, line.token_ids_N[None], line.predictors_A, line.packing)

    def _padded(self, rows: Sequence[int]) -> MicroBatch:
        width = len(self.token_ids[rows[0]]) - 1
        token_ids_BT = torch.full((len(rows), width), _PADDING_ID)
        predictors = []
        for index, row in enumerate(rows):
            ids = self.token_ids[row]
            token_ids_BT[index, : len(ids) - 1] = ids[:-1]
            predictors.append(self.positions[row] + (index * width - 1))
        return self._gather(rows, token_ids_BT, torch.cat(predictors))

    def _gather(
        self,
        rows: Sequence[int],
        token_ids_BT: Tensor,
        predictors_A: Tensor,
        packing: Packing | None = None,
    ) -> MicroBatch:
        """A pass over rollouts that are laid out already, their action tokens in the same order."""
        starts_B = self.counts_B.cumsum(0) - self.counts_B
        where = [self.positions[row] for row in rows]
        return MicroBatch(
            token_ids_BT=token_ids_BT,
            predictors_A=predictors_A,
            target_ids_A=torch.cat([self.token_ids[row][self.positions[row]] for row in rows]),
            rows_A=torch.cat([torch.full_like(w, index) for index, w in enumerate(where)]),
            tokens_A=torch.cat(
                [torch.arange(len(w)) + starts_B[row] for row, w in zip(rows, where, strict=True)]
            ),
            packing=packing,
        )


def _action_positions(rollout: Rollout) -> Tensor:
    """[A_b] positions of the tokens that the policy wrote."""
    spans, begin = [], 0
    for segment in rollout.segments:
        end = begin + len(segment.token_ids)
        if segment.source is Source.POLICY and end > begin:
            spans.append(torch.arange(begin, end))
        begin = end
    if not spans:
        raise ValueError(
            f"a rollout of question {rollout.transcript.question.id!r} has no policy token; "
            "expected at least one: mark it void (transcript.failure) or leave it out"
        )
    if spans[0][0] == 0:
        raise ValueError(
            f"a rollout of question {rollout.transcript.question.id!r} begins with a policy token, "
            "which nothing predicts; expected a PROMPT segment of at least one token first"
        )
    return torch.cat(spans)
