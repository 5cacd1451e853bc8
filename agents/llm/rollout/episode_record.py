"""An episode as its tokens come: what was read, what was written, and when the context was full."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

from agents.llm.generators.base import Generation
from agents.llm.rollout.types import Rollout, Segment, Source
from zs_env.transcripts.transcript import Transcript


@dataclass(slots=True, eq=False)
class EpisodeRecord:
    """The tokens of one episode while it is played.

    Attributes:
        segments: so far; the first is PROMPT.
        drift: stored ids that differ from what the model was fed.
        context_full: whether the policy can read and write no more.
    """

    segments: list[Segment] = field(default_factory=list)
    token_mismatch: int = 0
    context_full: bool = False

    def token_ids(self) -> list[int]:
        """All ids so far, as the model is to read them."""
        return list(chain.from_iterable(segment.token_ids for segment in self.segments))

    def begin(self, token_ids: tuple[int, ...]) -> None:
        """Record the prompt."""
        self.segments.append(Segment(source=Source.PROMPT, token_ids=token_ids))

    def take(self, generation: Generation) -> None:
        """Record a turn as it was sampled."""
        self.token_mismatch += generation.token_mismatch
        self.context_full = generation.stop_reason == "context"
        if generation.token_ids:
            segment = Segment(
                source=Source.POLICY,
                token_ids=generation.token_ids,
                logprobs=generation.logprobs,
                weight_version=generation.weight_version,
            )
            self.segments.append(segment)
        elif self.segments[-1].source is Source.ENVIRONMENT:
            # The policy never read this: its context was full.
            self.segments.pop()

    def hear(self, token_ids: tuple[int, ...]) -> None:
        """Record what the environment said, unless the policy can read no more."""
        if token_ids and not self.context_full:
            self.segments.append(Segment(source=Source.ENVIRONMENT, token_ids=token_ids))

    def rollout(self, transcript: Transcript) -> Rollout:
        """Return the episode, which is over."""
        return Rollout(
            segments=tuple(self.segments), transcript=transcript, token_mismatch=self.token_mismatch
        )
