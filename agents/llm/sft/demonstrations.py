"""Transcripts of any agent as token ids to imitate."""

from __future__ import annotations

from agents.llm.policy.policy import Policy
from agents.llm.rollout.types import Rollout, Segment, Source
from zs_env.transcripts.transcript import Transcript


def encode_demonstration(policy: Policy, transcript: Transcript) -> Rollout:
    """Encode what a demonstrator wrote as if the policy had written it.

    Every turn is encoded alone, as a rollout lays it out. A turn ends where a policy's would: with
    its closing tag, so no EOS is learnt. The logprobs are 0: nobody sampled.
    """
    segments = [Segment(source=Source.PROMPT, token_ids=policy.encode_prompt(transcript.prompt))]
    for turn in transcript.turns:
        written = policy.encode_environment(turn.text)
        segments.append(
            Segment(source=Source.POLICY, token_ids=written, logprobs=(0.0,) * len(written))
        )
        if turn.message:
            message = policy.encode_environment(turn.message)
            segments.append(Segment(source=Source.ENVIRONMENT, token_ids=message))
    return Rollout(segments=tuple(segments), transcript=transcript)
