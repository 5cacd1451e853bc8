"""Supervised training with the learner."""

import copy
import math

import pytest
import torch

from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.policy.lora import add_adapter
from agents.llm.sft.supervised import SUPERVISED, mean_loss, plan_steps, train_steps


def _learner(model, *, total_steps=1, **settings):
    settings = {"learning_rate": 1e-3, "warmup_steps": 1, "lr_schedule": "cosine", **settings}
    return Learner(
        model,
        algorithm=SUPERVISED,
        optimizer=OptimizerConfig(**settings),
        total_updates=total_steps,
    )


def _weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def _mean_cross_entropy(model, rollouts):
    """Of all policy tokens, rollout by rollout, from the full logits."""
    losses = []
    for rollout in rollouts:
        ids, mask = torch.tensor(rollout.token_ids), torch.tensor(rollout.action_mask)
        log_p_TV = model(ids[None, :-1]).logits[0].log_softmax(-1)
        losses.append(-log_p_TV.gather(1, ids[1:, None])[:, 0][mask[1:]])
    return torch.cat(losses).mean()


def test_loss_and_gradient_are_those_of_the_mean_cross_entropy(make_llama, make_rollout):
    model = make_llama()
    rollouts = [make_rollout(3, 2 + i, 4, 1, seed=i, reward=0.5 * i) for i in range(3)]
    other = copy.deepcopy(model)
    loss = _mean_cross_entropy(other, rollouts)
    loss.backward()
    expected = loss.item()
    learner = _learner(model, tokens_per_micro_batch=20, max_grad_norm=1e30)
    assert mean_loss(learner, rollouts) == pytest.approx(expected)
    seen = []
    losses = train_steps(learner, rollouts, [[0, 1, 2]], on_step=lambda *step: seen.append(step))
    assert losses == pytest.approx([expected])
    assert seen == [(0, losses[0])]
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_demonstrations_are_learned_and_documents_are_not(make_llama, make_rollout):
    model = make_llama()
    rollout = make_rollout(3, 5, 12, 5)
    ids = torch.tensor([rollout.token_ids])

    def cross_entropy(of_actions):
        with torch.no_grad():
            log_p = model(ids).logits[0, :-1].log_softmax(-1)
        picked = -log_p.gather(-1, ids[0, 1:, None])[:, 0]
        return float(picked[torch.tensor(rollout.action_mask[1:]) == of_actions].mean())

    documents_before = cross_entropy(False)
    losses = train_steps(_learner(model, total_steps=60, learning_rate=1e-2), [rollout], [[0]] * 60)
    assert losses[-1] < 0.05 < losses[0]
    assert cross_entropy(True) < 0.05
    assert cross_entropy(False) > 0.7 * documents_before


def test_every_epoch_contains_every_rollout_once(make_rollout):
    steps = plan_steps(
        [make_rollout(2, 3 + i % 4) for i in range(17)], epochs=3, tokens_per_step=20
    )
    rows = [row for step in steps for row in step]
    assert [sorted(rows[i : i + 17]) for i in (0, 17, 34)] == [list(range(17))] * 3
    assert rows[:17] != rows[17:34]
    assert len(rows) == 51


def test_the_number_of_steps_is_kept_and_the_losses_are_reproducible(make_llama, make_rollout):
    rollouts = [make_rollout(3, 4, seed=i) for i in range(5)]
    steps = plan_steps(rollouts, tokens_per_step=15, num_steps=7, seed=3)
    runs = [train_steps(_learner(make_llama(), total_steps=7), rollouts, steps) for _ in range(2)]
    assert len(runs[0]) == 7
    assert runs[0] == runs[1]


@pytest.mark.parametrize("muon", [None, 0.02], ids=["adamw", "muon"])
def test_a_resumed_learner_is_bit_identical(make_llama, make_rollout, muon):
    rollouts = [make_rollout(3, 4, seed=i) for i in range(5)]
    steps = plan_steps(rollouts, tokens_per_step=15, num_steps=6)

    def learner(model):
        config = OptimizerConfig(learning_rate=1e-3)
        return Learner(
            model,
            algorithm=SUPERVISED,
            optimizer=config,
            total_updates=6,
            muon_learning_rate=muon,
        )

    model = make_llama().float()
    whole = learner(model)
    losses = train_steps(whole, rollouts, steps[:3])
    kept, state = copy.deepcopy((model, whole.state_dict()))
    losses += train_steps(whole, rollouts, steps)
    resumed = learner(kept)
    resumed.load_state_dict(state)
    assert losses[3:] == train_steps(resumed, rollouts, steps)
    assert torch.equal(_weights(kept), _weights(model))


def test_an_adapter_is_trained_alone(make_llama, make_rollout):
    model = make_llama()
    add_adapter(model, rank=2, alpha=4)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    train_steps(_learner(model.double(), total_steps=2), [make_rollout(3, 4)], [[0]] * 2)
    moved = {n for n, weight in model.named_parameters() if not torch.equal(weight, before[n])}
    assert moved and all("lora_" in name for name in moved)


def test_nothing_to_train_on_is_an_error():
    with pytest.raises(ValueError, match="at least one demonstration"):
        plan_steps([], tokens_per_step=10)


def test_a_loss_that_is_not_finite_stops_the_training(make_llama, make_rollout):
    model = make_llama()
    with torch.no_grad():
        model.lm_head.weight[0] = math.nan
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        train_steps(_learner(model), [make_rollout(2, 3)], [[0]])
