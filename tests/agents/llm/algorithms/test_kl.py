import math

import pytest
import torch

from agents.llm.algorithms.losses import kl_estimate, kl_loss

# A policy whose probabilities are eighths, so that eight samples can be in exact proportion.
_P = torch.tensor([4, 2, 1, 1], dtype=torch.float64) / 8
_R = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
_SAMPLES = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])
_KL = float((_P * (_P / _R).log()).sum())


def _gradient(estimator):
    """Gradient of the mean KL term over the samples with respect to the policy's logits."""
    logits = _P.log().requires_grad_(True)
    terms = kl_loss(logits.log_softmax(-1)[_SAMPLES], _R.log()[_SAMPLES], estimator)
    return torch.autograd.grad(terms.mean(), logits)[0]


def test_estimates_by_hand():
    # p = 1/2, r = 1/4: log(p/r) = log 2, r/p = 1/2.
    p, r = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    assert kl_estimate(p, r, "k1").item() == pytest.approx(math.log(2))
    assert kl_estimate(p, r, "k2").item() == pytest.approx(math.log(2) ** 2 / 2)
    assert kl_estimate(p, r, "k3").item() == pytest.approx(0.5 - 1 + math.log(2))


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_k1_and_k3_are_unbiased(estimator):
    estimate = kl_estimate(_P.log()[_SAMPLES], _R.log()[_SAMPLES], estimator)
    assert estimate.mean().item() == pytest.approx(_KL)


@pytest.mark.parametrize("estimator", ["k1", "k2"])
def test_k1_and_k2_in_the_loss_have_the_gradient_of_the_kl(estimator):
    expected = _P * ((_P / _R).log() - _KL)
    torch.testing.assert_close(_gradient(estimator), expected)


def test_k3_in_the_loss_has_the_gradient_of_the_forward_kl():
    torch.testing.assert_close(_gradient("k3"), _P - _R)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_descent_leads_to_the_reference(estimator):
    logits = _P.log() - 0.1 * _gradient(estimator)
    moved = logits.log_softmax(-1)
    assert float((moved.exp() * (moved - _R.log())).sum()) < _KL


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_at_the_reference_there_is_no_pull(estimator):
    logprobs = _R.log().requires_grad_(True)
    terms = kl_loss(logprobs, _R.log(), estimator)
    assert terms.tolist() == [0.0] * 4
    assert torch.autograd.grad(terms.sum(), logprobs)[0].tolist() == [0.0] * 4


def _value_and_gradient(estimator, gap):
    logprob = torch.tensor([-gap - 1.0], dtype=torch.float64, requires_grad=True)
    term = kl_loss(logprob, torch.tensor([-1.0], dtype=torch.float64), estimator)
    return term.item(), torch.autograd.grad(term.sum(), logprob)[0].item()


@pytest.mark.parametrize("gap", [3.5, 12.0, 500.0])
def test_k3_far_from_the_reference_is_the_tangent_at_a_ratio_of_32(gap):
    # At r/p = 32: value 32 - 1 - log 32, slope 32 - 1.
    value, gradient = _value_and_gradient("k3", gap)
    assert value == pytest.approx(31 - math.log(32) + 31 * (gap - math.log(32)))
    assert gradient == pytest.approx(-31.0)


@pytest.mark.parametrize("gap", [-500.0, -12.0, -1.0, 0.0, 1.0, 3.4])
def test_k3_up_to_a_ratio_of_32_is_exact(gap):
    value, gradient = _value_and_gradient("k3", gap)
    assert value == pytest.approx(math.exp(gap) - 1 - gap)
    assert gradient == pytest.approx(1 - math.exp(gap))


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("gap", [-1e4, -100.0, 100.0, 1e4])
def test_gradients_grow_at_most_linearly_and_pull_towards_the_reference(estimator, gap):
    value, gradient = _value_and_gradient(estimator, gap)
    assert math.isfinite(value) and abs(gradient) <= max(31.0, abs(gap)) + 1e-6
    assert gradient * gap < 0
