import math

import pytest
import torch

from agents.llm.algorithms.losses import (
    POLICY_LOSSES,
    Clip,
    cispo_loss,
    clipped_loss,
    clipped_value_loss,
    gspo_loss,
    token_weights,
)

CLIP = Clip(low=0.2, high=0.3)
ONE_ROW = torch.zeros(1, dtype=torch.long)


def _policy(ratio, advantage, loss=clipped_loss, clip=CLIP):
    """Loss, whether clipped, and derivative with respect to the log-probability."""
    logprob = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    loss_A, _, clipped_A = loss(logprob, zero, zero + advantage, ONE_ROW, clip)
    (slope,) = torch.autograd.grad(loss_A.sum(), logprob)
    return loss_A.item(), bool(clipped_A), slope.item()


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


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (5.0, -2.0, 6.0, True),  # counts 3 at the most
        (2.0, -2.0, 4.0, False),
        (5.0, 2.0, -2.6, True),  # where the advantage is positive the upper bound comes first
    ],
)
def test_the_dual_clip_by_hand(ratio, advantage, loss, clipped):
    value, was_clipped, slope = _policy(ratio, advantage, clip=Clip(low=0.2, high=0.3, dual=3.0))
    assert value == pytest.approx(loss)
    assert was_clipped is clipped
    assert slope == pytest.approx(0.0 if clipped else -ratio * advantage)


@pytest.mark.parametrize(
    ("ratio", "weight", "clipped"), [(1.2, 1.2, False), (9.0, 1.3, True), (0.1, 0.8, True)]
)
def test_cispo_bounds_the_weight_and_never_the_gradient(ratio, weight, clipped):
    value, was_clipped, slope = _policy(ratio, 2.0, loss=cispo_loss)
    assert value == pytest.approx(-weight * 2.0 * math.log(ratio))
    assert was_clipped is clipped
    assert slope == pytest.approx(-weight * 2.0)


def _gspo(logprobs, rows, advantages):
    logprobs_A = torch.tensor(logprobs, dtype=torch.float64, requires_grad=True)
    result = gspo_loss(
        logprobs_A,
        torch.zeros(len(logprobs), dtype=torch.float64),
        torch.tensor(advantages, dtype=torch.float64),
        torch.tensor(rows),
        CLIP,
    )
    (slopes,) = torch.autograd.grad(result[0].sum(), logprobs_A)
    return result, slopes.tolist()


def test_gspo_has_one_ratio_a_rollout():
    # Means of log-ratios: .1 over two tokens, -.4 over one, which lies below the bound.
    (losses_A, ratios_A, clipped_A), slopes = _gspo([0.5, -0.3, -0.4], [1, 1, 0], [2.0, 2.0, -1.0])
    ratio = math.exp(0.1)
    assert ratios_A.tolist() == pytest.approx([ratio, ratio, math.exp(-0.4)])
    assert losses_A.tolist() == pytest.approx([-2 * ratio, -2 * ratio, 0.8])
    assert clipped_A.tolist() == [False, False, True]
    assert slopes == pytest.approx([-2 * ratio, -2 * ratio, 0.0])


def test_gspo_has_the_gradient_of_the_sequence_form():
    # d/dx of mean over rollouts of -s(x) A, s the geometric mean: each of n tokens gets -s A / n.
    _, slopes = _gspo([0.1, 0.1, 0.1], [0, 0, 0], [1.5, 1.5, 1.5])
    weights = token_weights(torch.tensor([3]), "sequence")
    x = torch.tensor([0.1, 0.1, 0.1], dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(-x.mean().exp() * 1.5, x)
    assert (torch.tensor(slopes) * weights).tolist() == pytest.approx(expected.tolist())


@pytest.mark.parametrize("loss", POLICY_LOSSES.values(), ids=list(POLICY_LOSSES))
@pytest.mark.parametrize("far", [1000.0, -1000.0])
def test_a_ratio_beyond_float_stays_finite(loss, far):
    losses_A, _, _ = loss(torch.tensor([0.0]), torch.tensor([far]), -torch.ones(1), ONE_ROW, CLIP)
    assert losses_A.isfinite().all()


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


def test_a_constant_divisor_does_not_look_at_the_lengths():
    weights = [token_weights(torch.tensor(n), "constant", divisor=10) for n in ([1, 3], [9, 9])]
    assert {float(weight) for part in weights for weight in part} == {1 / 20}
