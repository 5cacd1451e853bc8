import math

import pytest
import torch

from agents.llm.loss import clipped_policy_loss, clipped_value_loss, token_weights


def _policy(ratio, advantage):
    """Loss, whether clipped, and derivative with respect to the log-probability."""
    logprob = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    result = clipped_policy_loss(logprob, zero, zero + advantage, clip_low=0.2, clip_high=0.3)
    (slope,) = torch.autograd.grad(result.losses_A.sum(), logprob)
    return result.losses_A.item(), bool(result.clipped_A), slope.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.2, 2.0, -2.4, False),
        (1.5, 2.0, -2.6, True),  # no more reward beyond 1.3
        (0.5, 2.0, -1.0, False),  # the way back stays open
        (0.5, -2.0, 1.6, True),  # no more reward below 0.8
        (1.5, -2.0, 3.0, False),
    ],
)
def test_the_clipped_surrogate_by_hand(ratio, advantage, loss, clipped):
    value, was_clipped, slope = _policy(ratio, advantage)
    assert value == pytest.approx(loss)
    assert was_clipped is clipped
    assert slope == pytest.approx(0.0 if clipped else -ratio * advantage)


def test_a_ratio_beyond_float_stays_finite():
    logprobs, old = torch.tensor([0.0]), torch.tensor([-1000.0])
    result = clipped_policy_loss(logprobs, old, -torch.ones(1), clip_low=0.2, clip_high=0.2)
    assert result.losses_A.isfinite().all()


def test_zero_advantage_gives_zero_loss_and_no_clip():
    assert _policy(3.0, 0.0) == (0.0, False, 0.0)


@pytest.mark.parametrize(
    ("value", "old", "target", "loss"),
    [
        (0.5, 0.4, 1.0, 0.125),  # within the clip: half of 0.5 squared
        (0.9, 0.4, 1.0, 0.08),  # 0.4 + 0.2 = 0.6 is the worse of the two: half of 0.4 squared
        (0.0, 0.4, 1.0, 0.5),  # 0.2 would be the better one
    ],
)
def test_the_clipped_value_loss_by_hand(value, old, target, loss):
    values, olds, targets = (torch.tensor([number]) for number in (value, old, target))
    result = clipped_value_loss(values, olds, targets, value_clip=0.2)
    assert result.item() == pytest.approx(loss)


def test_weights_by_token_and_by_sequence():
    counts = torch.tensor([1, 3])
    assert token_weights(counts, "token").tolist() == [0.25] * 4
    assert token_weights(counts, "sequence").tolist() == pytest.approx([1 / 2, *[1 / 6] * 3])
