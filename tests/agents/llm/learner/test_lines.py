import torch

from agents.llm.learner.lines import Reading, cut_lines, make_line
from agents.llm.learner.packing import Span


def make_lines(readings, max_tokens):
    return [make_line(part) for part in cut_lines(readings, max_tokens)]


def _reading(row, ids, positions):
    return Reading(row, torch.tensor(ids), torch.tensor(positions))


def test_a_shared_prompt_stands_once_before_what_its_rollouts_have_of_their_own():
    # Prompt 1 2; actions 3 4, page 5, action 6; and actions 7 8. Last actions are not read.
    (line,) = make_lines(
        [_reading(0, [1, 2, 3, 4, 5, 6], [2, 3, 5]), _reading(1, [1, 2, 7, 8], [2, 3])], 100
    )
    assert line.rows == [0, 1]
    assert line.token_ids_N.tolist() == [1, 2, 3, 4, 5, 7]
    assert line.packing.positions_N.tolist() == [0, 1, 2, 3, 4, 2]
    assert line.packing.spans == (Span(0, 2, 0, 0), Span(2, 5, 0, 2), Span(5, 6, 0, 2))
    # 3 and 7 come after the prompt's 2, 4 after 3, 6 after 5, 8 after 7.
    assert line.predictors_A.tolist() == [1, 2, 4, 1, 5]


def test_a_rollout_of_one_action_token_reads_only_the_prompt():
    (line,) = make_lines([_reading(0, [1, 2, 3], [2]), _reading(1, [1, 2, 4], [2])], 100)
    assert line.token_ids_N.tolist() == [1, 2]
    assert line.packing.spans == (Span(0, 2, 0, 0),)
    assert line.predictors_A.tolist() == [1, 1]


def test_rollouts_of_one_prompt_stand_together_wherever_they_were():
    (line,) = make_lines(
        [
            _reading(0, [1, 5, 6], [1, 2]),
            _reading(1, [2, 5, 6], [1, 2]),
            _reading(2, [1, 7, 8], [1, 2]),
        ],
        100,
    )
    assert line.rows == [0, 2, 1]
    assert line.token_ids_N.tolist() == [1, 5, 7, 2, 5]


def test_a_line_that_is_full_is_followed_by_one_with_the_prompt_again():
    # Each rollout has a prompt of 3 and reads 2 more: 5, 7, 9 tokens.
    readings = [_reading(row, [1, 2, 3, 4, 5, 6], [3, 4, 5]) for row in range(3)]
    assert [len(line.token_ids_N) for line in make_lines(readings, 9)] == [9]
    assert [len(line.token_ids_N) for line in make_lines(readings, 8)] == [7, 5]
    assert [len(line.token_ids_N) for line in make_lines(readings, 1)] == [5, 5, 5]
