"""In which order a run goes through its questions: a pure function of how many it has seen.

Nothing has to be stored but the cursor, so a resumed run asks what the undisturbed one would.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zs_env.questions.question import QuestionDataset

# Larger sets are walked in their own order: a permutation would not fit, and a world that makes
# its questions from their index has shuffled them already.
_LARGEST_SHUFFLED = 2_000_000
# Questions looked at for each one taken, before a structure counts as absent.
_LONGEST_STRETCH = 500


def question_indices(cursor: int, count: int, *, num_questions: int, seed: int) -> list[int]:
    """Indices of the next `count` questions after `cursor` earlier ones.

    Every question comes once in each pass through the set; each pass has its own order.

    Args:
        cursor: questions asked so far in the run.
        count: how many to take.
        num_questions: size of the set.
        seed: of the order.
    """
    if num_questions < 1:
        raise ValueError("there are no questions to train on; --questions names an empty set")
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
    """Indices of the next `count` questions of some structures, and the cursor after them.

    Others in between are passed over.

    Args:
        cursor: questions passed so far.
        count: how many to take.
        questions: the set, whose metadata name a `structure`.
        structures: which to take.
        seed: of the order.

    Raises:
        ValueError: if a long stretch of the set holds too few.
    """
    found: list[int] = []
    stretch = _LONGEST_STRETCH * count
    for place in range(cursor, cursor + stretch):
        (index,) = question_indices(place, 1, num_questions=len(questions), seed=seed)
        if questions[index].metadata.get("structure") in structures:
            found.append(index)
            if len(found) == count:
                return found, place + 1
    raise ValueError(
        f"of {stretch} questions only {len(found)} have a structure of {tuple(structures)}, "
        f"wanted {count}; name structures that the set holds in --curriculum"
    )


def structures_at(step: int, *, curriculum: Sequence[str], steps: int) -> tuple[str, ...]:
    """Structures that are asked for at a 0-based step.

    The first is there from the beginning; the others join at equal intervals, the last one at
    `steps`.
    """
    joined = (len(curriculum) - 1) * step // max(steps, 1)
    return tuple(curriculum[: 1 + min(joined, len(curriculum) - 1)])


def step_seeds(seed: int, step: int, count: int, *, refill: int = 0) -> list[int]:
    """Seeds of a step's draws, below 2^31; a pure function of the run's seed and the step.

    Args:
        seed: of the run.
        step: updates made so far.
        count: of seeds.
        refill: how often the step has already drawn other questions in place of useless ones.
    """
    entropy = (seed, step, refill) if refill else (seed, step)
    state = np.random.SeedSequence(entropy).generate_state(count, np.uint32)
    return [int(value) >> 1 for value in state]
