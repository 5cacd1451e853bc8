"""The seeds of a group's episodes, all from one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class EpisodeSeeds:
    """What an episode draws with.

    Attributes:
        environment: of its environment.
        sampling: of its policy's random stream.
        group: of the luck that its group may share.
    """

    environment: int
    sampling: int
    group: int


def group_seeds(seed: int, group_size: int) -> list[EpisodeSeeds]:
    """Return the seeds of the episodes of one question.

    Args:
        seed: at least 0; the environment of the first episode gets it as it is.
        group_size: episodes; the first ones have the same environment and sampling seeds however
            many there are.
    """
    state = np.random.SeedSequence(seed).generate_state(2 * group_size + 1, np.uint32).tolist()
    return [
        EpisodeSeeds(state[2 * member] if member else seed, state[2 * member + 1], state[-1])
        for member in range(group_size)
    ]
