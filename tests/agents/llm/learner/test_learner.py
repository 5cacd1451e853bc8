import copy
import io
import math
from typing import get_args

import pytest
import torch

from agents.llm.algorithms.registry import AlgorithmConfig, AlgorithmName
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.rollout.types import Group, Rollout, Segment, Source
from tests.agents.llm.learner.hand_worked import LogitPolicy

NAMES = sorted(get_args(AlgorithmName))
_UNCLIPPED = 1e30


def _learner(
    model,
    name="grpo",
    *,
    reference=None,
    max_tokens=4096,
    lr=1e-3,
    seed=0,
    **algorithm,
):
    # The log-probabilities of most rollouts here are made up.
    settings = {"recompute_logprobs": False, "critic_learning_rate": lr, **algorithm}
    return Learner(
        model,
        algorithm=AlgorithmConfig(algorithm=name, **settings),
        optimizer=OptimizerConfig(
            learning_rate=lr,
            max_grad_norm=_UNCLIPPED,
            tokens_per_micro_batch=max_tokens,
        ),
        reference_model=reference,
        total_updates=10,
        seed=seed,
    )


def _groups(make_rollout, num_groups=2):
    """Groups of four ragged rollouts, each group with rewards 1, 0, 0.25, 0."""
    return [
        Group(
            rollouts=tuple(
                make_rollout(
                    3 + g, 2 + i, 5 * (i % 2) + 1, 1 + g, 2, 3, reward=reward, seed=10 * g + i
                )
                for i, reward in enumerate((1.0, 0.0, 0.25, 0.0))
            )
        )
        for g in range(num_groups)
    ]


def _gradients(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def _weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def _assert_same_gradient(ours, theirs):
    assert (ours - theirs).abs().max() <= 1e-6 * theirs.abs().max()
    assert theirs.abs().max() > 0


# --- which logits are trained --------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("garbage", [0.0, 1e30, math.inf, -math.inf, math.nan])
def test_rows_that_predict_prompt_or_environment_have_no_derivative(make_rollout, name, garbage):
    rollouts = _groups(make_rollout, 1)[0].rollouts
    width = max(len(rollout.token_ids) for rollout in rollouts)
    torch.manual_seed(0)
    logits = torch.randn(4, width, 40, dtype=torch.float64)
    longest_first = sorted(rollouts, key=lambda rollout: -len(rollout.token_ids))
    trained = torch.zeros(4, width, dtype=torch.bool)
    for row, rollout in enumerate(longest_first):
        for position, acted in enumerate(rollout.action_mask):
            trained[row, position - 1] |= acted

    def update(logits_BTV):
        policy = LogitPolicy(logits_BTV.clone())
        reference = LogitPolicy(logits_BTV.clone() * 0.5)
        learner = _learner(policy, name, reference=reference, kl_coef=0.1, entropy_coef=0.1)
        report = learner.update([Group(rollouts=rollouts)])
        assert not report.skipped, report.reason
        return policy.gradient, report.metrics

    clean, metrics = update(logits)
    gradient, same_metrics = update(logits.masked_fill(~trained[..., None], garbage))
    assert torch.equal(gradient, clean)
    assert same_metrics == metrics
    assert (gradient[~trained] == 0).all()
    assert (gradient[trained].abs().sum(-1) > 0).all()


def test_the_row_at_the_last_observation_position_is_trained(make_rollout):
    policy = LogitPolicy(torch.zeros(1, 8, 40, dtype=torch.float64))
    rollout = make_rollout(2, 1, 3, 1, reward=1.0, logprobs=(-math.log(40),) * 2)
    _learner(policy, "reinforce").update([Group(rollouts=(rollout,))])
    moved = policy.gradient[0].abs().sum(-1) > 0
    assert moved.nonzero()[:, 0].tolist() == [1, 5]


# --- gradients equal the closed form -------------------------------------------------------------

_P = torch.tensor([4, 2, 1, 1], dtype=torch.float64) / 8


def _proportional_rollouts(make_rollout, rewards=(0.0, 0.0, 0.0, 0.0)):
    """Eight one-token answers with frequencies exactly `_P`, so that means are expectations."""
    rollouts = []
    for token in (0, 0, 0, 0, 1, 1, 2, 3):
        plain = make_rollout(1, 1, reward=rewards[token])
        answer = Segment(
            source=Source.POLICY, token_ids=(token,), logprobs=(float(_P[token].log()),)
        )
        prompt = Segment(source=Source.PROMPT, token_ids=(0,))
        rollouts.append(Rollout(segments=(prompt, answer), transcript=plain.transcript))
    return [Group(rollouts=tuple(rollouts))]


def test_reinforce_has_the_policy_gradient(make_rollout):
    rewards = torch.tensor([0.0, 0.5, 1.0, 0.25], dtype=torch.float64)
    policy = LogitPolicy(_P.log()[None, None])
    groups = _proportional_rollouts(make_rollout, rewards.tolist())
    report = _learner(policy, "reinforce").update(groups)
    expected = -_P * (rewards - (_P * rewards).sum())
    torch.testing.assert_close(policy.gradient[0, 0], expected)
    assert report.metrics["ratio_mean"] == pytest.approx(1.0)
    assert report.metrics["logprob_gap_max"] == pytest.approx(0.0, abs=1e-7)
    assert report.metrics["entropy"] == pytest.approx(float(-(_P * _P.log()).sum()))


def test_temperature_divides_the_logits(make_rollout):
    rewards = torch.tensor([0.0, 0.5, 1.0, 0.25], dtype=torch.float64)
    policy = LogitPolicy(2 * _P.log()[None, None])
    learner = Learner(
        policy,
        algorithm=AlgorithmConfig(algorithm="reinforce"),
        optimizer=OptimizerConfig(max_grad_norm=_UNCLIPPED),
        total_updates=1,
        temperature=2.0,
    )
    learner.update(_proportional_rollouts(make_rollout, rewards.tolist()))
    expected = -_P * (rewards - (_P * rewards).sum()) / 2
    torch.testing.assert_close(policy.gradient[0, 0], expected)


def test_the_entropy_bonus_has_the_gradient_of_the_entropy(make_rollout):
    policy = LogitPolicy(_P.log()[None, None])
    groups = _proportional_rollouts(make_rollout)
    _learner(policy, "reinforce", entropy_coef=0.3).update(groups)
    entropy = -(_P * _P.log()).sum()
    torch.testing.assert_close(policy.gradient[0, 0], 0.3 * _P * (_P.log() + entropy))


@pytest.mark.parametrize(("kl_in", "estimator"), [("loss", "k1"), ("loss", "k2"), ("reward", "k1")])
def test_the_kl_term_pulls_towards_the_reference(make_rollout, kl_in, estimator):
    reference_p = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    policy = LogitPolicy(_P.log()[None, None])
    learner = _learner(
        policy,
        "reinforce",
        reference=LogitPolicy(reference_p.log()[None, None]),
        kl_coef=0.5,
        kl_in=kl_in,
        kl_estimator=estimator,
    )
    report = learner.update(_proportional_rollouts(make_rollout))
    log_ratio = (_P / reference_p).log()
    kl = (_P * log_ratio).sum()
    torch.testing.assert_close(policy.gradient[0, 0], 0.5 * _P * (log_ratio - kl))
    if estimator == "k1":
        assert report.metrics["kl"] == pytest.approx(float(kl))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kl_in", ["loss", "reward"])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_updates_without_reward_lower_the_kl(make_rollout, name, kl_in, estimator):
    reference_p = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    policy = LogitPolicy(_P.log()[None, None])
    learner = _learner(
        policy,
        name,
        reference=LogitPolicy(reference_p.log()[None, None]),
        lr=0.02,
        kl_coef=0.5,
        kl_in=kl_in,
        kl_estimator=estimator,
    )

    def kl():
        log_p = policy.base_model.logits_BTV.detach()[0, 0].log_softmax(-1)
        return float((log_p.exp() * (log_p - reference_p.log())).sum())

    before = kl()
    learner.update(_proportional_rollouts(make_rollout))
    assert kl() < before - 1e-3


# --- which tokens count --------------------------------------------------------------------------


def test_ids_that_equal_padding_and_eos_are_trained(make_llama, make_rollout):
    # The model's pad and EOS ids are both 2. One rollout has no other id; another is longer.
    def only_twos(rollout):
        segments = tuple(
            Segment(
                source=segment.source,
                token_ids=(2,) * len(segment.token_ids),
                logprobs=segment.logprobs,
            )
            for segment in rollout.segments
        )
        return Rollout(segments=segments, transcript=rollout.transcript)

    twos = only_twos(make_rollout(3, 2, 2, 2, reward=1.0))
    groups = [Group(rollouts=(twos, make_rollout(9, 4, 9, 4, reward=0.0, seed=1)))]
    together, apart = make_llama(), make_llama()
    report = _learner(together).update(groups)
    _learner(apart, max_tokens=1).update(groups)
    assert report.metrics["tokens"] == 12
    _assert_same_gradient(_gradients(together), _gradients(apart))


def test_groups_without_variance_count_in_the_mean_without_being_computed(make_llama, make_rollout):
    (useful, _) = _groups(make_rollout)
    equal = Group(rollouts=tuple(make_rollout(3, 4, seed=i, reward=1.0) for i in range(3)))
    alone, both = make_llama(), make_llama()
    expected = _learner(alone).update([useful]).metrics
    metrics = _learner(both).update([useful, equal]).metrics
    share = expected["tokens"] / (expected["tokens"] + 12)
    _assert_same_gradient(_gradients(both), share * _gradients(alone))
    assert metrics["zero_variance_groups"] == 1
    assert metrics["tokens_computed"] == expected["tokens"]
    assert metrics["entropy"] == pytest.approx(expected["entropy"])
    assert metrics["ratio_mean"] == pytest.approx(expected["ratio_mean"])


# --- sampler and learner agree -------------------------------------------------------------------


def _sample(model, rollout, seed):
    """Replace a rollout's policy tokens by samples of the model."""
    generator = torch.Generator().manual_seed(seed)
    ids: list[int] = []
    segments = []
    for segment in rollout.segments:
        if segment.source is not Source.POLICY:
            ids.extend(segment.token_ids)
            segments.append(segment)
            continue
        drawn, logprobs = [], []
        for _ in segment.token_ids:
            with torch.no_grad():
                log_p = model(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
            token = int(torch.multinomial(log_p.exp(), 1, generator=generator))
            ids.append(token)
            drawn.append(token)
            logprobs.append(float(log_p[token]))
        segments.append(
            Segment(source=Source.POLICY, token_ids=tuple(drawn), logprobs=tuple(logprobs))
        )
    return Rollout(segments=tuple(segments), transcript=rollout.transcript)


def test_recomputed_logprobs_equal_the_sampled_ones_in_float32(make_llama, make_rollout):
    model = make_llama().float()
    groups = [
        Group(rollouts=tuple(_sample(model, r, seed) for seed, r in enumerate(group.rollouts)))
        for group in _groups(make_rollout)
    ]
    plain, again = copy.deepcopy(model), copy.deepcopy(model)
    metrics = _learner(plain, "reinforce", entropy_coef=0.01).update(groups).metrics
    assert metrics["logprob_gap_max"] < 1e-4
    assert metrics["ratio_mean"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["clip_fraction"] == 0.0
    _learner(again, "reinforce", entropy_coef=0.01, recompute_logprobs=True).update(groups)
    torch.testing.assert_close(_weights(again), _weights(plain), rtol=0, atol=1e-4)


def test_recomputed_old_logprobs_make_every_first_ratio_one(make_llama, make_rollout):
    model = make_llama()
    learner = _learner(model, "reinforce", entropy_coef=0.1, recompute_logprobs=True)
    metrics = learner.update(_groups(make_rollout)).metrics
    assert metrics["ratio_mean"] == pytest.approx(1.0, abs=1e-6)
    assert (
        metrics["logprob_gap_max"] > 0.01
    )  # the logprobs of the fixture are not those of the model


# --- steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_updates_raise_the_probability_of_the_rewarded_answer(make_rollout, name):
    policy = LogitPolicy(_P.log()[None, None])
    learner = _learner(policy, name, lr=0.05, epochs=2, minibatches=2)
    groups = _proportional_rollouts(make_rollout, (0.0, 0.0, 1.0, 0.0))
    for _ in range(3):
        assert not learner.update(groups).skipped
    assert policy.base_model.logits_BTV.softmax(-1)[0, 0, 2] > _P[2]


def test_the_critic_learns_the_returns(make_llama, make_rollout):
    learner = _learner(make_llama(), "ppo", lr=5e-3, epochs=4)
    groups = _groups(make_rollout)
    reports = [learner.update(groups) for _ in range(12)]
    assert reports[0].metrics["explained_variance"] == pytest.approx(0.0)
    assert reports[-1].metrics["explained_variance"] > 0.3
    assert reports[-1].metrics["value_loss"] < reports[0].metrics["value_loss"]


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_learner_is_bit_identical(make_llama, make_rollout, name):
    groups = _groups(make_rollout)
    options = {"minibatches": 2, "epochs": 2}
    model = make_llama().float()
    learner = _learner(model, name, **options)
    learner.update(groups)
    saved = io.BytesIO()
    torch.save({"model": model.state_dict(), "learner": learner.state_dict()}, saved)
    learner.update(groups)

    saved.seek(0)
    state = torch.load(saved)
    resumed = make_llama(5).float()
    resumed.load_state_dict(state["model"])
    other = _learner(resumed, name, **options)
    other.load_state_dict(state["learner"])
    other.update(groups)
    assert torch.equal(_weights(resumed), _weights(model))
    if learner.critic is not None and other.critic is not None:
        assert torch.equal(_weights(other.critic), _weights(learner.critic))


def test_the_order_of_minibatches_follows_the_seed(make_llama, make_rollout):
    def weights(seed):
        model = make_llama().float()
        learner = _learner(model, seed=seed, minibatches=4)
        for _ in range(2):
            learner.update(_groups(make_rollout))
        return _weights(model)

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_no_autocast_cache_keeps_casts_of_all_layers(make_llama, make_rollout):
    model, cached = make_llama().float(), []
    for layer in model.model.layers:
        layer.register_forward_hook(lambda *_: cached.append(torch.is_autocast_cache_enabled()))
    learner = Learner(
        model,
        algorithm=AlgorithmConfig(),
        optimizer=OptimizerConfig(autocast=True),
        total_updates=1,
    )
    assert not learner.update(_groups(make_rollout)).skipped
    assert cached and not any(cached)


def test_a_resumed_learner_keeps_the_learning_rate_of_a_rollback(make_llama, make_rollout):
    def distance(learner, model):
        before = _weights(model)
        learner.update(_groups(make_rollout))
        return (_weights(model) - before).abs().max().item()

    def learner_with(scale):
        model = make_llama().float()
        learner = _learner(model, lr=1e-3)
        learner.rollback(make_llama().float(), None, lr_scale=scale)
        return learner, model

    saved = learner_with(0.5)[0].state_dict()
    resumed_model = make_llama().float()
    resumed = _learner(resumed_model, lr=1e-3)
    resumed.load_state_dict(saved)
    assert resumed.lr_scale == 0.5
    moved = distance(resumed, resumed_model)
    # The first step of Adam moves a weight by the learning rate.
    assert moved == distance(*learner_with(0.5))
    assert moved == pytest.approx(0.5 * distance(*learner_with(1.0)), rel=1e-3)


def test_a_state_of_another_algorithm_is_refused(make_llama):
    state = _learner(make_llama(), "ppo").state_dict()
    with pytest.raises(ValueError, match="has a critic"):
        _learner(make_llama(), "grpo").load_state_dict(state)


def test_a_loss_that_is_not_finite_skips_the_step_and_reports_the_batch(make_llama, make_rollout):
    model = make_llama()
    with torch.no_grad():
        model.lm_head.weight[7] = math.nan
    before = _weights(model)
    report = _learner(model).update(_groups(make_rollout))
    assert report.skipped and report.failed
    assert "loss is nan" in report.reason
    assert report.batch is not None and len(report.batch) == 8
    torch.testing.assert_close(_weights(model), before, equal_nan=True, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_gradient_that_is_not_finite_skips_the_step(make_llama, make_rollout):
    model = make_llama()
    model.model.layers[0].mlp.up_proj.weight.register_hook(lambda grad: grad * math.inf)
    before = _weights(model)
    report = _learner(model).update(_groups(make_rollout))
    assert report.failed and "grad_norm is" in report.reason
    assert torch.equal(_weights(model), before)


def test_updates_without_a_signal_are_skipped_but_not_failed(make_llama, make_rollout):
    model = make_llama()
    before = _weights(model)
    learner = _learner(model)
    equal = learner.update([Group(rollouts=(make_rollout(2, 3), make_rollout(2, 4)))])
    failed = make_rollout(2, 3, failure="timeout")
    nothing = learner.update([Group(rollouts=(failed, failed))])
    actionless = learner.update([Group(rollouts=(failed, make_rollout(30)))])
    assert (equal.reason, nothing.reason) == ("every advantage is zero", "every rollout failed")
    assert actionless.reason == "no rollout has an action token: the prompts fill the context"
    for report in (equal, nothing, actionless):
        assert report.skipped and not report.failed
    assert torch.equal(_weights(model), before)
    assert learner.updates == 3


def test_the_gradient_is_clipped_to_max_grad_norm(make_llama, make_rollout):
    model = make_llama()
    learner = Learner(
        model,
        algorithm=AlgorithmConfig(),
        optimizer=OptimizerConfig(max_grad_norm=1e-3),
        total_updates=1,
    )
    metrics = learner.update(_groups(make_rollout)).metrics
    assert metrics["grad_norm"] > 1e-3  # the norm before clipping
    assert float(_gradients(model).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_grpo_refuses_groups_of_one(make_llama, make_rollout):
    with pytest.raises(ValueError, match="raise group_size"):
        _learner(make_llama()).update([Group(rollouts=(make_rollout(2, 2),))] * 3)


def test_a_kl_without_a_reference_is_refused(make_llama):
    with pytest.raises(ValueError, match="reference_model"):
        _learner(make_llama(), kl_coef=0.1)
