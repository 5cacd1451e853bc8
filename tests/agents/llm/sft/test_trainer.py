import math

import pytest
import torch

from agents.llm.sft import trainer as supervised
from agents.llm.sft.trainer import train_supervised


def test_the_loss_is_the_mean_cross_entropy_of_policy_tokens(make_llama, make_rollout):
    model = make_llama()
    rollouts = [make_rollout(3, 2 + i, 4, 1, seed=i) for i in range(3)]
    total, count = 0.0, 0
    for rollout in rollouts:
        with torch.no_grad():
            log_p = model(torch.tensor([rollout.token_ids])).logits[0].log_softmax(-1)
        for position, acted in enumerate(rollout.action_mask):
            if acted:
                total -= float(log_p[position - 1, rollout.token_ids[position]])
                count += 1
    seen = []
    losses = train_supervised(
        model,
        rollouts,
        steps=1,
        tokens_per_micro_batch=20,
        on_step=lambda step, loss: seen.append((step, loss)),
    )
    assert losses == pytest.approx([total / count])
    assert seen == [(0, losses[0])]


def test_demonstrations_are_learnt_and_documents_are_not(make_llama, make_rollout):
    model = make_llama()
    rollout = make_rollout(3, 5, 12, 5)
    ids = torch.tensor([rollout.token_ids])

    def surprise(wanted):
        with torch.no_grad():
            log_p = model(ids).logits[0, :-1].log_softmax(-1)
        picked = -log_p.gather(-1, ids[0, 1:, None])[:, 0]
        return float(picked[torch.tensor(rollout.action_mask[1:]) == wanted].mean())

    document_before = surprise(False)
    losses = train_supervised(model, [rollout], steps=60, lr=1e-2, warmup_steps=1)
    assert losses[-1] < 0.05 < losses[0]
    assert surprise(True) < 0.05
    assert surprise(False) > 0.7 * document_before


def test_every_epoch_shows_every_rollout_once(make_rollout):
    plan = supervised._plan(
        [make_rollout(2, 3 + i % 4) for i in range(17)], epochs=3, steps=None, tokens=20, seed=0
    )
    shown = [row for rows in plan for row in rows]
    assert [sorted(shown[i : i + 17]) for i in (0, 17, 34)] == [list(range(17))] * 3
    assert shown[:17] != shown[17:34]
    assert len(shown) == 51


def test_steps_are_as_many_as_asked_for_and_repeatable(make_llama, make_rollout):
    rollouts = [make_rollout(3, 4, seed=i) for i in range(5)]
    runs = [
        train_supervised(make_llama(), rollouts, steps=7, tokens_per_batch=15, seed=3)
        for _ in range(2)
    ]
    assert len(runs[0]) == 7
    assert runs[0] == runs[1]


def test_nothing_to_train_on_is_an_error(make_llama):
    with pytest.raises(ValueError, match="at least one demonstration"):
        train_supervised(make_llama(), [])


def test_a_loss_that_is_not_finite_stops_the_training(make_llama, make_rollout):
    model = make_llama()
    with torch.no_grad():
        model.lm_head.weight[0] = math.nan
    with pytest.raises(FloatingPointError, match="lower lr"):
        train_supervised(model, [make_rollout(2, 3)], steps=1)
