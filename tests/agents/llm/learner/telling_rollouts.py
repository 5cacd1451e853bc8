"""Rollouts whose ids tell who wrote them.

Whether a position may be trained can be read off the id that stands there, in whatever order and
layout a pass holds it: no index of the code under test has a part in the expectation.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from agents.llm.rollout.types import Group, Rollout, Segment, Source
from zs_env import Question, Transcript

# Ids of each source, of a vocabulary of 40, and of the last token of each of its segments.
_IDS = {
    Source.PROMPT: (range(9), 9),
    Source.ENVIRONMENT: (range(10, 19), 19),
    Source.POLICY: (range(20, 39), 39),
}
# Before an action token stands the end of a prompt, the end of a page, or the turn itself, of which
# the last token has a page after it.
TRAINED_IDS = frozenset({9, 19, *range(20, 39)})


def telling_rollout(
    prompt: int, *turns: int, reward: float, seed: int, prompt_seed: int, failure: str | None = None
) -> Rollout:
    """A rollout whose ids tell who wrote them.

    Args:
        prompt: its length.
        turns: lengths of action, page, action, ...
        reward: of the episode.
        seed: of the ids.
        prompt_seed: of the prompt's.
        failure: makes it void.
    """
    sources = [Source.ENVIRONMENT if n % 2 else Source.POLICY for n in range(len(turns))]
    rng = random.Random(seed)
    segments = [_segment(Source.PROMPT, prompt, random.Random(prompt_seed))]
    segments += [_segment(*each, rng) for each in zip(sources, turns, strict=True)]
    transcript = Transcript(
        question=Question(id="q", text="?", answers=("a",)),
        prompt="",
        failure=failure,
        reason="failure" if failure else "answer",
        reward_terms=(("answer", reward),),
    )
    return Rollout(segments=tuple(segments), transcript=transcript)


def _segment(source: Source, length: int, rng: random.Random) -> Segment:
    inner, last = _IDS[source]
    ids = (*(rng.choice(inner) for _ in range(length - 1)), last)
    logprobs = (-3.0,) * length if source is Source.POLICY else None
    return Segment(source=source, token_ids=ids, logprobs=logprobs)


def ragged_groups(rewards: Sequence[Sequence[float]] = ((1.0, 0.0, 0.25, 0.0),) * 2) -> list[Group]:
    """Groups of one prompt each, their rollouts of 6 to 10 action tokens in three turns."""
    return [
        Group(
            rollouts=tuple(
                telling_rollout(
                    *(3 + g, 2 + i, 5 * (i % 2) + 1, 1 + g, 2, 3),
                    reward=reward,
                    seed=10 * g + i,
                    prompt_seed=100 + g,
                )
                for i, reward in enumerate(rewards_of_group)
            )
        )
        for g, rewards_of_group in enumerate(rewards)
    ]


def reverse(groups: Sequence[Group]) -> list[Group]:
    """The last rollout of the last group first."""
    return [Group(rollouts=group.rollouts[::-1]) for group in groups[::-1]]


def disturbed(groups: Sequence[Group]) -> list[Group]:
    """The same with four rollouts that teach nothing, and pages that no action follows."""
    nowhere = {"reward": 1.0, "seed": 99, "prompt_seed": 98}
    void = telling_rollout(3, 7, 2, 4, failure="timeout", **nowhere)
    unwritten = telling_rollout(30, **nowhere)
    page = _segment(Source.ENVIRONMENT, 5, random.Random(97))
    first, *others = (
        Group(rollouts=tuple(replace(r, segments=(*r.segments, page)) for r in group.rollouts))
        for group in groups
    )
    more = Group(rollouts=(void, *first.rollouts, unwritten))
    return [Group(rollouts=(void, unwritten)), more, *others]


def sampled_by(model: Any, groups: Sequence[Group], off: Sequence[float] = (0.0,)) -> list[Group]:
    """The rollouts with logprobs of a model, in every second rollout of a group turned over.

    Args:
        model: as the sampler would run it.
        groups: of rollouts.
        off: nats to add to those of the first token, the second, and so on, over and over; what
            every second rollout has taken off.
    """

    def one(rollout: Rollout, sign: int) -> Rollout:
        with torch.no_grad():
            log_p_TV = model(torch.tensor([rollout.token_ids])).logits[0].double().log_softmax(-1)
        segments, begin, number = [], 0, 0
        for segment in rollout.segments:
            end = begin + len(segment.token_ids)
            if segment.source is Source.POLICY:
                own = log_p_TV[range(begin - 1, end - 1), segment.token_ids].tolist()
                added = [sign * off[(number + n) % len(off)] for n in range(len(own))]
                logprobs = tuple(map(sum, zip(own, added, strict=True)))
                segment = replace(segment, logprobs=logprobs)
                number += len(own)
            segments.append(segment)
            begin = end
        return replace(rollout, segments=tuple(segments))

    return [
        Group(rollouts=tuple(one(r, -1 if i % 2 else 1) for i, r in enumerate(group.rollouts)))
        for group in groups
    ]
