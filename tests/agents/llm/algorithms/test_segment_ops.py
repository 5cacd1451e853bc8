import torch

from agents.llm.algorithms.segment_ops import rows_of, sum_by_rollout


def test_each_token_knows_its_rollout_and_a_rollout_without_tokens_has_none():
    assert rows_of(torch.tensor([2, 0, 3])).tolist() == [0, 0, 2, 2, 2]


def test_sums_are_taken_rollout_by_rollout():
    values_A = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    assert sum_by_rollout(values_A, torch.tensor([2, 0, 3])).tolist() == [3.0, 0.0, 28.0]
