"""The order of questions is a function of the cursor alone."""

import pytest

from agents.llm.rollout.question_order import (
    group_seeds,
    matching_questions,
    question_indices,
    step_seeds,
    structures_at,
)
from zs_env import Question
from zs_env.world import World, WorldQuestions


def test_every_question_comes_once_in_an_epoch() -> None:
    taken = question_indices(0, 20, num_questions=10, seed=0)
    assert sorted(taken[:10]) == sorted(taken[10:]) == list(range(10))
    assert taken[:10] != taken[10:]


def test_questions_do_not_depend_on_the_step_size() -> None:
    whole = question_indices(0, 30, num_questions=7, seed=4)
    parts = [question_indices(at, 5, num_questions=7, seed=4) for at in range(0, 30, 5)]
    assert [index for part in parts for index in part] == whole


def test_an_unlimited_set_does_not_repeat_questions() -> None:
    taken = question_indices(1000, 500, num_questions=2**31, seed=1)
    assert len(set(taken)) == 500
    assert question_indices(1499, 1, num_questions=2**31, seed=1) == taken[-1:]
    assert all(0 <= index < 2**31 for index in taken)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"empty question set.*--questions"):
        question_indices(0, 1, num_questions=0, seed=0)


def test_steps_have_their_own_seeds() -> None:
    assert step_seeds(0, 1, 3) == step_seeds(0, 1, 3)
    drawn = {seed for step in range(50) for seed in step_seeds(0, step, 20)}
    assert len(drawn) == 1000


def test_structures_are_added_one_by_one() -> None:
    curriculum = ("chain1", "chain2", "chain3")
    at = [structures_at(step, curriculum=curriculum, steps=10) for step in (0, 4, 5, 9, 10, 99)]
    assert [len(structures) for structures in at] == [1, 1, 2, 2, 3, 3]
    assert at[2] == ("chain1", "chain2")
    assert structures_at(0, curriculum=("chain1",), steps=0) == ("chain1",)


def test_other_structures_are_skipped_and_move_the_cursor() -> None:
    questions = WorldQuestions(World(0))
    first, cursor = matching_questions(
        0, 8, questions=questions, structures=("chain2", "comparison"), seed=3
    )
    assert {questions[index].metadata["structure"] for index in first} == {"chain2", "comparison"}
    assert cursor >= 8
    then, end = matching_questions(
        cursor, 8, questions=questions, structures=("chain2", "comparison"), seed=3
    )
    both, end_of_both = matching_questions(
        0, 16, questions=questions, structures=("chain2", "comparison"), seed=3
    )
    assert (first + then, end) == (both, end_of_both)


def test_a_structure_that_the_set_lacks_is_named() -> None:
    questions = [Question(id="q", text="?", answers=("a",), metadata={"structure": "bridge"})]
    with pytest.raises(ValueError, match=r"\('chain9',\).*--curriculum"):
        matching_questions(0, 2, questions=questions, structures=("chain9",), seed=0)


def test_the_first_episode_of_a_group_has_the_seed_itself():
    assert group_seeds(7, 3)[0][0] == 7


def test_episode_seeds_do_not_depend_on_the_group_size():
    def seeds(size):
        return [seeds[:2] for seeds in group_seeds(7, size)]

    assert seeds(5)[:2] == seeds(2)


def test_only_the_group_seed_is_shared():
    environment, sampling, group = zip(*group_seeds(7, 4), strict=True)
    assert len(set(group)) == 1
    assert len({*environment, *sampling}) == 8
