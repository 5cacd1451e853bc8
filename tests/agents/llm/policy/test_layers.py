"""What is computed anew is what would have been kept: the same gradient, from fewer tensors."""

import copy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import nn

from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.distributed.fsdp import full_tensor
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.learner.models import Critic
from agents.llm.policy.layers import layers_of, marked_layers, recomputing
from agents.llm.policy.lora import add_adapter, has_adapter
from agents.llm.rollout.types import Group, Rollout
from tests.agents.llm.distributed.rank_processes import on_ranks


@pytest.fixture
def groups(make_rollout: Any) -> list[Group]:
    """Two groups of three ragged rollouts that share their prompt."""

    def group(number: int) -> Group:
        rollouts = [
            make_rollout(4 + number, 2 + i, 3, 2, reward=reward, seed=10 * number + i)
            for i, reward in enumerate((1.0, 0.0, 0.25))
        ]
        prompt = rollouts[0].segments[0]
        return Group(
            rollouts=tuple(
                Rollout(segments=(prompt, *r.segments[1:]), transcript=r.transcript)
                for r in rollouts
            )
        )

    return [group(0), group(1)]


def _adapted(model: Any) -> Any:
    add_adapter(model, rank=2, alpha=4)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.normal_(std=0.3)
    return model.double()


def _learner(
    model: Any, name: Any, distributed: DistributedContext = SINGLE_PROCESS, **optimizer: Any
) -> Learner:
    config = AlgorithmConfig(
        algorithm=name, kl_coef=0.05, entropy_coef=0.01, recompute_logprobs=True, minibatches=2
    )
    critic = None
    if config.row.needs_critic:
        critic = Critic.from_policy(model)
        nn.init.constant_(critic.head.weight, 0.3)
    reference = model if has_adapter(model) else copy.deepcopy(model)
    return Learner(
        model,
        algorithm=config,
        optimizer=OptimizerConfig(learning_rate=1e-3, tokens_per_micro_batch=30, **optimizer),
        reference_model=reference,
        critic=critic,
        total_updates=10,
        distributed=distributed,
    )


def _gradient(learner: Learner, groups: list[Group]) -> torch.Tensor:
    """Of the last of the update's steps, so it depends on those before it."""
    assert not learner.update(groups).skipped
    modules = [learner.policy] + ([] if learner.critic is None else [learner.critic])
    gradients = [weight.grad for module in modules for weight in module.parameters()]
    return torch.cat([full_tensor(g).flatten() for g in gradients if g is not None])


def _assert_equal(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.abs().max() > 0
    assert (ours - theirs).abs().max() <= 1e-12 * theirs.abs().max()


@pytest.mark.parametrize("adapter", [False, True], ids=["weights", "adapter"])
@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_the_gradient_is_the_same(
    make_llama: Any, groups: list[Group], name: str, adapter: bool
) -> None:
    model = _adapted(make_llama()) if adapter else make_llama()
    kept = _learner(copy.deepcopy(model), name)
    anew = _learner(model, name, gradient_checkpointing=True)
    _assert_equal(_gradient(anew, groups), _gradient(kept, groups))


def _learn(
    distributed: DistributedContext, model: Any, groups: list[Group], checkpointing: bool
) -> torch.Tensor:
    return _gradient(
        _learner(model, "ppo", distributed, gradient_checkpointing=checkpointing), groups
    )


def test_the_gradient_of_two_ranks_is_the_same(
    make_llama: Any, groups: list[Group], tmp_path: Path
) -> None:
    kept = on_ranks(tmp_path, 2, _learn, make_llama(), groups, False)
    anew = on_ranks(tmp_path, 2, _learn, make_llama(), groups, True)
    for ours, theirs in zip(anew, kept, strict=True):
        _assert_equal(ours, theirs)


def _kept_elements(model: Any, ids: torch.Tensor) -> int:
    """Numbers that a forward pass keeps for the backward pass, its weights left out."""
    weights = {weight.data_ptr() for weight in model.parameters()}
    kept = 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * (tensor.data_ptr() not in weights)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.model(input_ids=ids, use_cache=False)
    return kept


def test_a_layer_keeps_its_input_and_nothing_else(make_llama: Any) -> None:
    model = make_llama()
    ids = torch.arange(20).view(2, 10)
    everything = _kept_elements(model, ids)
    calls = []
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    with recomputing(layers_of(model)):
        # Hidden states, 2 x 10 x 16, enter two layers; so does what they share (rotary angles).
        assert _kept_elements(model, ids) < everything / 4
        model(ids).logits.sum().backward()
    assert len(calls) == 3


def test_layers_are_as_they_were_after_an_error(make_llama: Any) -> None:
    model = make_llama()
    with pytest.raises(RuntimeError, match="interrupted"), recomputing(layers_of(model)):
        assert all("forward" in vars(layer) for layer in model.model.layers)
        raise RuntimeError("interrupted")
    assert not any("forward" in vars(layer) for layer in model.model.layers)


def test_dropout_stays_off(make_llama: Any, groups: list[Group]) -> None:
    model = make_llama()
    kept = _learner(copy.deepcopy(model), "grpo")
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    anew = _learner(model.train(), "grpo", gradient_checkpointing=True)
    _assert_equal(_gradient(anew, groups), _gradient(kept, groups))


@pytest.mark.parametrize("setting", ["gradient_checkpointing", "compile_layers"])
def test_a_model_without_layers_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting}=False"):
        marked_layers([nn.Linear(2, 2)], setting)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what compiling warns of is torch's own
def test_compiled_layers_have_the_same_gradient(make_llama: Any, groups: list[Group]) -> None:
    torch.compiler.reset()
    model = make_llama()
    plain = _learner(copy.deepcopy(model), "grpo")
    ours = _learner(model, "grpo", compile_layers=True, gradient_checkpointing=True)
    with patch.object(torch, "compile", wraps=torch.compile) as compile_:
        gradient = _gradient(ours, groups)
    assert compile_.call_count >= len(layers_of(model))
    _assert_equal(gradient, _gradient(plain, groups))
