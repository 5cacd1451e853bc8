"""The tokens of one unfinished episode."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

from agents.llm.generators.base import Generation, GenerationRequest
from agents.llm.rollout.types import Rollout, Segment, Source
from zs_env.transcripts.transcript import Transcript


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
        assert self.transcript is not None, "the episode has not ended"
        return Rollout(
            segments=tuple(self.segments),
            transcript=self.transcript,
            token_mismatch=self.token_mismatch,
        )
