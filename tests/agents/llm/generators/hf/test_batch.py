"""Rows of ended turns stay within the model's positions."""

import torch

from agents.llm.generators.hf.batch import TurnBatch


def test_the_row_of_an_ended_turn_stays_within_the_context():
    batch = TurnBatch(
        turns=[],
        seeds_B=torch.tensor([1, 2]),
        tokens_B=torch.tensor([0, 0]),
        positions_B=torch.tensor([62, 10]),
        tokens_BT=torch.empty((2, 4), dtype=torch.int64),
        logprobs_BT=torch.empty((2, 4)),
        length=63,
    )
    for _ in range(3):
        batch.sample(torch.zeros(2, 7), 0.0, max_context=64)
    assert batch.positions_B.tolist() == [63, 13]
