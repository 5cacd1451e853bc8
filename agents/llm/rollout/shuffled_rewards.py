"""A control: the rewards of a step dealt to the wrong episodes.

Lengths, pages and the distribution of rewards stay; what they say about the actions is gone. A
policy that gains under it gains for a reason other than reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agents.llm.rollout.types import Group


def shuffle_rewards(groups: Sequence[Group], *, seed: int) -> list[Group]:
    """Permute the rewards of all episodes that are not void, across groups.

    Args:
        groups: as rolled out; they are left as they are.
        seed: of the permutation.
    """
    sound = [rollout for group in groups for rollout in group.rollouts if not rollout.failed]
    order = np.random.default_rng(seed).permutation(len(sound))
    dealt = iter([sound[place].transcript.reward_terms for place in order])
    return [
        replace(
            group,
            rollouts=tuple(
                rollout
                if rollout.failed
                else replace(
                    rollout, transcript=replace(rollout.transcript, reward_terms=next(dealt))
                )
                for rollout in group.rollouts
            ),
        )
        for group in groups
    ]
