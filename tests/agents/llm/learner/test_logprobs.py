import math

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from agents.llm.learner import models
from agents.llm.learner.batch import Batch
from agents.llm.learner.models import LogprobModel, head_logprobs
from agents.llm.rollout.types import Group


def _reference_logprobs(hidden, head, targets, *, temperature=1.0, scale=1.0, cap=None):
    """The definition, with all logits at once."""
    logits = head(hidden) * scale
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    log_p = (logits / temperature).log_softmax(-1)
    return log_p.gather(-1, targets[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(models, "_CHUNK_ELEMENTS", {"cpu": 3 * 11})


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "transform",
    [
        {},
        {"temperature": 0.6},
        {"scale": 0.25},
        {"cap": 2.0},
        {"temperature": 1.5, "scale": 3.0, "cap": 4.0},
    ],
)
def test_chunked_logprobs_and_gradients_equal_the_definition(small_chunks, bias, transform):
    torch.manual_seed(0)
    head = nn.Linear(5, 11, bias=bias).double()
    hidden = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(11, (8,))
    pull = torch.randn(2, 8, dtype=torch.float64)
    leaves = [hidden, *head.parameters()]
    results = []
    for function in (head_logprobs, _reference_logprobs):
        log_p, entropy = function(hidden, head, targets, **transform)
        gradients = torch.autograd.grad((pull * torch.stack([log_p, entropy])).sum(), leaves)
        results.append((log_p, entropy, *gradients))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_gradients_pass_gradcheck(small_chunks):
    torch.manual_seed(1)
    head = nn.Linear(4, 11).double()
    hidden = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(11, (7,))
    torch.autograd.gradcheck(lambda states: head_logprobs(states, head, targets), (hidden,))


def test_an_impossible_token_leaves_the_entropy_finite():
    head = nn.Linear(2, 3, bias=False).double()
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, 1.0], [-math.inf, 0.0]]))
    hidden = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    # Logits 0, 0 and -inf: log-probability log 1/2, entropy log 2.
    logprobs_A, entropies_A = head_logprobs(hidden, head, torch.tensor([0]))
    assert logprobs_A.item() == pytest.approx(-math.log(2))
    assert entropies_A.item() == pytest.approx(math.log(2))


def test_action_logprobs_equal_those_of_the_whole_model(make_llama, make_rollout):
    model = make_llama()
    rollout = make_rollout(4, 3, 5, 2)
    (micro,) = Batch.from_groups([Group(rollouts=(rollout,))]).micro_batches(1000)
    ids = torch.tensor([rollout.token_ids])
    log_p = (model(ids).logits[0] / 0.7).log_softmax(-1)
    expected = [
        log_p[position - 1, token].item()
        for position, token in enumerate(rollout.token_ids)
        if rollout.action_mask[position]
    ]
    ours = LogprobModel(model, temperature=0.7)(micro)[0]
    assert ours.tolist() == pytest.approx(expected, abs=1e-12)


def test_padding_does_not_change_logprobs(make_llama, make_rollout):
    model = make_llama()
    short, long = make_rollout(4, 3, seed=1), make_rollout(30, 2, 20, 3, seed=2)
    alone = Batch.from_groups([Group(rollouts=(short,))]).micro_batches(1000)[0]
    padded = Batch.from_groups([Group(rollouts=(long, short))]).micro_batches(1000)[0]
    torch.testing.assert_close(
        LogprobModel(model)(padded)[0][-3:],
        LogprobModel(model)(alone)[0],
        rtol=0,
        atol=1e-12,
    )


def test_logits_are_computed_for_action_tokens_only(make_llama, make_rollout, monkeypatch):
    model = make_llama()
    monkeypatch.setattr(models, "_CHUNK_ELEMENTS", {"cpu": 2 * 40})
    rows = []
    linear = torch.nn.functional.linear

    def recorder(states, weight, bias=None):
        if weight is model.lm_head.weight or weight.shape[0] == 40:
            rows.append(len(states))
        return linear(states, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", recorder)
    (micro,) = Batch.from_groups([Group(rollouts=(make_rollout(20, 3, 30, 2),))]).micro_batches(
        1000
    )
    LogprobModel(model)(micro)[0].sum().backward()
    # The 5 action tokens in chunks of 2, forward and backward; the 52 other positions never.
    assert rows == [2, 2, 1, 2, 2, 1]


_SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.5,
}


@pytest.mark.parametrize(
    "settings",
    [
        {"model_type": "qwen2"},
        {"model_type": "qwen3", "tie_word_embeddings": True},
        {"model_type": "gemma2", "final_logit_softcapping": 1.5, "query_pre_attn_scalar": 8},
        {"model_type": "granite", "logits_scaling": 3.0},
        {"model_type": "cohere", "logit_scale": 0.25},
        {"model_type": "gpt2", "n_embd": 16, "n_head": 2, "n_layer": 2, "vocab_size": 40},
        {"model_type": "phi", "partial_rotary_factor": 0.5},
    ],
    ids=lambda settings: settings["model_type"],
)
def test_logprobs_equal_those_of_each_architecture(make_rollout, settings):
    torch.manual_seed(0)
    name = settings["model_type"]
    shared = {"eos_token_id": 2, "bos_token_id": 1} if name == "gpt2" else _SMALL
    config = AutoConfig.for_model(**(shared | settings))
    model = AutoModelForCausalLM.from_config(config).eval()
    torch.nn.init.normal_(model.get_output_embeddings().weight)
    rollouts = [make_rollout(4, 3, 5, 2), make_rollout(2, 4, seed=1)]
    (micro,) = Batch.from_groups([Group(rollouts=tuple(rollouts))]).micro_batches(1000)
    logits = model(micro.token_ids_BT).logits.flatten(0, 1)[micro.predictors_A] / 0.7
    expected = logits.log_softmax(-1).gather(-1, micro.target_ids_A[:, None])[:, 0]
    ours = LogprobModel(model, temperature=0.7)(micro)[0]
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-5)
