"""Rollouts whose token ids encode their source.

Tests read from the id at a position whether it may be trained, without any index of the code under
test.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from agents.llm.rollout.types import Group, Rollout, Segment, Source
from zs_env import Question, Transcript

# Ids of each source (vocabulary 40), and the id of the last token of its segments.
_IDS = {
    Source.PROMPT: (range(9), 9),
    Source.ENVIRONMENT: (range(10, 19), 19),
    Source.POLICY: (range(20, 39), 39),
}
# An action token follows the end of a prompt, the end of a page, or a token of its turn other than
# the last one.
TRAINED_IDS = frozenset({9, 19, *range(20, 39)})


def labelled_rollout(
    prompt: int, *turns: int, reward: float, seed: int, prompt_seed: int, failure: str | None = None
) -> Rollout:
    """Make a rollout whose ids encode their source.

    Args:
        prompt: length of the prompt.
        turns: lengths of action, page, action, ...
        reward: reward of the episode.
        seed: seed of the ids.
        prompt_seed: seed of the prompt's ids.
        failure: engine failure of the episode.
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
    """Make groups with one prompt each; rollouts have 6 to 10 action tokens in three turns."""
    return [
        Group(
            rollouts=tuple(
                labelled_rollout(
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
    """Reverse the order of groups and rollouts."""
    return [Group(rollouts=group.rollouts[::-1]) for group in groups[::-1]]


def disturbed(groups: Sequence[Group]) -> list[Group]:
    """Add four rollouts that are not trained on, and pages that no action follows."""
    nowhere = {"reward": 1.0, "seed": 99, "prompt_seed": 98}
    failed = labelled_rollout(3, 7, 2, 4, failure="timeout", **nowhere)
    actionless = labelled_rollout(30, **nowhere)
    page = _segment(Source.ENVIRONMENT, 5, random.Random(97))
    first, *others = (
        Group(rollouts=tuple(replace(r, segments=(*r.segments, page)) for r in group.rollouts))
        for group in groups
    )
    more = Group(rollouts=(failed, *first.rollouts, actionless))
    return [Group(rollouts=(failed, actionless)), more, *others]


def sampled_by(model: Any, groups: Sequence[Group], off: Sequence[float] = (0.0,)) -> list[Group]:
    """Set the log-probabilities of rollouts to those of a model, plus an offset.

    Args:
        model: the sampling model.
        groups: groups of rollouts.
        off: nats to add, cycled over the action tokens; subtracted in every second rollout.
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
