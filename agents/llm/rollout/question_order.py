"""The questions of a training step and the seeds of its episodes.

Both are pure functions of the run's seed and its progress, so a resumed run needs only its cursor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zs_env.questions.question import QuestionDataset

# Larger sets keep their own order: a permutation would need too much memory, and the fictional
# world, which makes questions from their index, is shuffled already.
_LARGEST_SHUFFLED = 2_000_000
# Questions searched for each one taken, before a structure counts as absent.
_SEARCH_LENGTH = 500


def question_indices(cursor: int, count: int, *, num_questions: int, seed: int) -> list[int]:
    """Indices of the next `count` questions of a run after `cursor` earlier ones.

    Every epoch holds each question once, in an order of its own, which depends on `seed`.

    Raises:
        ValueError: if the set is empty.
    """
    if num_questions < 1:
        raise ValueError("got an empty question set; choose another with --questions")
    if num_questions > _LARGEST_SHUFFLED:
        start = int(np.random.default_rng((seed, 0)).integers(num_questions))
        return [(start + cursor + place) % num_questions for place in range(count)]
    orders: dict[int, np.ndarray] = {}
    indices = []
    for place in range(cursor, cursor + count):
        epoch, offset = divmod(place, num_questions)
        if epoch not in orders:
            orders[epoch] = np.random.default_rng((seed, epoch)).permutation(num_questions)
        indices.append(int(orders[epoch][offset]))
    return indices


def matching_questions(
    cursor: int,
    count: int,
    *,
    questions: QuestionDataset,
    structures: Sequence[str],
    seed: int,
) -> tuple[list[int], int]:
    """Like `question_indices`, but skip questions of other structures; also return the new cursor.

    Args:
        cursor: number of questions taken or skipped so far.
        count: number of questions to take.
        questions: the set.
        structures: allowed values of `metadata["structure"]`.
        seed: of the order.

    Raises:
        ValueError: if too few are found within 500 questions for each one wanted.
    """
    found: list[int] = []
    stretch = _SEARCH_LENGTH * count
    for place in range(cursor, cursor + stretch):
        (index,) = question_indices(place, 1, num_questions=len(questions), seed=seed)
        if questions[index].metadata.get("structure") in structures:
            found.append(index)
            if len(found) == count:
                return found, place + 1
    raise ValueError(
        f"only {len(found)} of {stretch} questions have a structure of {tuple(structures)}, "
        f"expected {count}; use structures of the question set in --curriculum"
    )


def structures_at(step: int, *, curriculum: Sequence[str], steps: int) -> tuple[str, ...]:
    """Structures of the curriculum that a 0-based step uses.

    The first is used from the start; the others are added at equal intervals, the last at `steps`.
    """
    added = (len(curriculum) - 1) * step // max(steps, 1)
    return tuple(curriculum[: 1 + added])


def step_seeds(seed: int, step: int, count: int, *, refill: int = 0) -> list[int]:
    """Seeds of a step, in [0, 2^31).

    Args:
        seed: of the run.
        step: number of updates so far.
        count: number of seeds.
        refill: how often the step has already replaced groups without signal.
    """
    entropy = (seed, step, refill) if refill else (seed, step)
    state = np.random.SeedSequence(entropy).generate_state(count, np.uint32)
    return [int(value) >> 1 for value in state]


def group_seeds(seed: int, group_size: int) -> list[tuple[int, int, int]]:
    """Seeds of the episodes of one question.

    Args:
        seed: at least 0; the environment seed of the first episode.
        group_size: number of episodes. The environment and sampling seeds of an episode do not
            depend on it.

    Returns:
        Of each episode: the seed of the environment's reset, the seed of the policy's random
        stream, and the `group_seed` reset option, which is equal in a group.
    """
    state = np.random.SeedSequence(seed).generate_state(2 * group_size + 1, np.uint32).tolist()
    return [
        (state[2 * member] if member else seed, state[2 * member + 1], state[-1])
        for member in range(group_size)
    ]
