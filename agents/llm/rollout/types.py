"""Token ids with their source: what a rollout hands to the learner.

A loss mask is never stored. It follows from who wrote each token, so it cannot disagree with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import chain

from zs_env.transcripts.transcript import Transcript


class Source(Enum):
    """Who wrote a token."""

    PROMPT = "prompt"
    POLICY = "policy"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Consecutive tokens written by one source.

    Attributes:
        source: who wrote them; only POLICY tokens are trained.
        token_ids: [T] ids as they were sampled or encoded, never re-encoded.
        logprobs: [T] natural-log probabilities under the sampling policy; POLICY only.
        weight_version: version of the weights that sampled them.
    """

    source: Source
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None = None
    weight_version: int = 0

    def __post_init__(self) -> None:
        if (self.logprobs is not None) != (self.source is Source.POLICY):
            raise ValueError(
                f"a {self.source.value} segment {'has' if self.logprobs else 'lacks'} logprobs; "
                "policy segments have them, no other has"
            )
        if self.logprobs is not None and len(self.logprobs) != len(self.token_ids):
            raise ValueError(
                f"{len(self.token_ids)} token ids but {len(self.logprobs)} logprobs in a segment"
            )


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One episode as tokens.

    Attributes:
        segments: in order; the first is PROMPT.
        transcript: the same episode as text, with its reward.
        drift: policy or environment tokens whose stored id differs from what the model was fed;
            it must read 0.
    """

    segments: tuple[Segment, ...]
    transcript: Transcript
    token_mismatch: int = 0

    @property
    def reward(self) -> float:
        """Episode reward; 0 where the episode is void."""
        return self.transcript.reward

    @property
    def failed(self) -> bool:
        """Whether a failure ended it: such an episode reaches no loss and no statistic."""
        return self.transcript.failure is not None

    @property
    def has_actions(self) -> bool:
        """Whether the policy wrote anything; where the prompt fills the context it cannot."""
        return any(s.source is Source.POLICY and s.token_ids for s in self.segments)

    @cached_property
    def token_ids(self) -> tuple[int, ...]:
        """[T] all ids, as the model read and wrote them."""
        return tuple(chain.from_iterable(segment.token_ids for segment in self.segments))

    @cached_property
    def action_mask(self) -> tuple[bool, ...]:
        """[T] True where the policy wrote the token."""
        return tuple(
            chain.from_iterable(
                (segment.source is Source.POLICY,) * len(segment.token_ids)
                for segment in self.segments
            )
        )

    @cached_property
    def logprobs(self) -> tuple[float, ...]:
        """[T] sampling logprobs, 0.0 where the policy did not write."""
        return tuple(
            chain.from_iterable(
                segment.logprobs or (0.0,) * len(segment.token_ids) for segment in self.segments
            )
        )

    @cached_property
    def turn_ids(self) -> tuple[int, ...]:
        """[T] 0-based turn of each policy token, -1 elsewhere."""
        turns: list[int] = []
        turn = -1
        for segment in self.segments:
            is_policy = segment.source is Source.POLICY
            turn += is_policy
            turns.extend([turn if is_policy else -1] * len(segment.token_ids))
        return tuple(turns)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rollouts of the same question, each the others' baseline."""

    rollouts: tuple[Rollout, ...]

    @property
    def has_signal(self) -> bool:
        """Whether its rewards differ, so that comparing its rollouts says something."""
        return len({rollout.reward for rollout in self.rollouts if not rollout.failed}) > 1
