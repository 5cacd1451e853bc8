"""Episodes as token ids.

The loss mask is not stored. It is derived from the source of each segment (`Rollout.action_mask`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from functools import cached_property
from itertools import chain
from typing import Any

from agents.llm.generators.base import Generation, GenerationRequest
from zs_env.transcripts.serialization import transcript_from_json, transcript_to_json
from zs_env.transcripts.transcript import Transcript


class Source(Enum):
    """Where a token comes from."""

    PROMPT = "prompt"
    POLICY = "policy"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Consecutive tokens of one source.

    Attributes:
        source: only POLICY tokens are trained.
        token_ids: [T] ids as they were sampled or encoded, never re-encoded.
        logprobs: [T] natural-log probabilities under the sampling policy; POLICY only.
    """

    source: Source
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if (self.logprobs is not None) != (self.source is Source.POLICY):
            raise ValueError(
                f"got a {self.source.value} segment {'with' if self.logprobs else 'without'} "
                "logprobs; policy segments need logprobs, other segments have none"
            )
        if self.logprobs is not None and len(self.logprobs) != len(self.token_ids):
            raise ValueError(
                f"got {len(self.token_ids)} token ids but {len(self.logprobs)} logprobs in a "
                "segment; expected one logprob for each id"
            )


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One finished episode as tokens.

    Attributes:
        segments: in order; the first is PROMPT.
        transcript: the same episode as text, with its reward.
        token_mismatch: number of tokens whose stored id differs from the id that the model
            processed; expected to be 0.
        context_full: whether the policy's context ended a turn of the episode.
    """

    segments: tuple[Segment, ...]
    transcript: Transcript
    token_mismatch: int = 0
    context_full: bool = False

    @property
    def reward(self) -> float:
        """Episode reward; 0 if the episode failed."""
        return self.transcript.reward

    @property
    def failed(self) -> bool:
        """Whether an engine failure ended the episode; it enters no loss and no statistic."""
        return self.transcript.failure is not None

    @property
    def has_actions(self) -> bool:
        """Whether it holds policy tokens; it does not if the prompt fills the context."""
        return any(s.source is Source.POLICY and s.token_ids for s in self.segments)

    @cached_property
    def token_ids(self) -> tuple[int, ...]:
        """[T] all ids, in the order the model processed them."""
        return tuple(chain.from_iterable(segment.token_ids for segment in self.segments))

    @cached_property
    def action_mask(self) -> tuple[bool, ...]:
        """[T] True for tokens that the policy sampled."""
        return tuple(turn >= 0 for turn in self.turn_ids)

    @cached_property
    def logprobs(self) -> tuple[float, ...]:
        """[T] sampling logprobs, 0.0 where `action_mask` is False."""
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


@dataclass(slots=True, eq=False)
class TokenEpisode:
    """Collects the segments of a `Rollout` while its episode is played.

    Attributes:
        environment_seed, sampling_seed, group_seed: see `group_seeds`.
        context_full: whether the policy's context has no room for another token.
        transcript: set when the episode has ended.
    """

    session: int = 0
    question_index: int = 0
    environment_seed: int = 0
    sampling_seed: int = 0
    group_seed: int = 0
    segments: list[Segment] = field(default_factory=list)
    token_mismatch: int = 0
    context_full: bool = False
    transcript: Transcript | None = None

    @property
    def token_ids(self) -> list[int]:
        """All ids so far."""
        return list(chain.from_iterable(segment.token_ids for segment in self.segments))

    def request(self) -> GenerationRequest:
        """Request for the next turn."""
        return GenerationRequest(
            session=self.session, token_ids=self.token_ids, seed=self.sampling_seed
        )

    def append_prompt(self, token_ids: tuple[int, ...]) -> None:
        """Add the first observation."""
        self.segments.append(Segment(source=Source.PROMPT, token_ids=token_ids))

    def append_observation(self, token_ids: tuple[int, ...]) -> None:
        """Add a later observation, unless the context is full."""
        if token_ids and not self.context_full:
            self.segments.append(Segment(source=Source.ENVIRONMENT, token_ids=token_ids))

    def append_action(self, turn: Generation) -> None:
        """Add a turn as it was sampled."""
        self.token_mismatch += turn.token_mismatch
        self.context_full = turn.stop_reason == "context"
        if turn.token_ids:
            self.segments.append(
                Segment(source=Source.POLICY, token_ids=turn.token_ids, logprobs=turn.logprobs)
            )
        elif self.segments[-1].source is Source.ENVIRONMENT:
            # The context was full before this observation, so the model did not process it.
            self.segments.pop()

    def rollout(self) -> Rollout:
        """The finished episode."""
        assert self.transcript is not None, "rollout() needs the transcript of an ended episode"
        return Rollout(
            segments=tuple(self.segments),
            transcript=self.transcript,
            token_mismatch=self.token_mismatch,
            context_full=self.context_full,
        )


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rollouts of the same question; their mean reward is the baseline."""

    rollouts: tuple[Rollout, ...]

    @property
    def has_signal(self) -> bool:
        """Whether rewards differ, so that group-relative advantages are not all 0."""
        return len({rollout.reward for rollout in self.rollouts if not rollout.failed}) > 1


def group_to_json(group: Group) -> list[dict[str, Any]]:
    """Return a group's rollouts as JSON values, without loss of precision."""
    return [
        {
            "segments": [
                {**asdict(segment), "source": segment.source.value} for segment in rollout.segments
            ],
            "transcript": transcript_to_json(rollout.transcript),
            "token_mismatch": rollout.token_mismatch,
            "context_full": rollout.context_full,
        }
        for rollout in group.rollouts
    ]


def group_from_json(values: list[dict[str, Any]]) -> Group:
    """Inverse of `group_to_json`."""
    return Group(
        rollouts=tuple(
            Rollout(
                segments=tuple(map(_segment_from_json, value["segments"])),
                transcript=transcript_from_json(value["transcript"]),
                token_mismatch=value["token_mismatch"],
                context_full=value["context_full"],
            )
            for value in values
        )
    )


def _segment_from_json(value: Mapping[str, Any]) -> Segment:
    logprobs = value["logprobs"]
    return Segment(
        source=Source(value["source"]),
        token_ids=tuple(value["token_ids"]),
        logprobs=None if logprobs is None else tuple(logprobs),
    )
