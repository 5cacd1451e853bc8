import copy

import pytest
import torch

from agents.cli.training.train import main as train
from agents.cli.training.warm_start import main as warm_start
from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.distributed.fsdp import trained_weights
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.learner.models import Critic
from agents.llm.policy.lora import (
    adapter_size,
    add_adapter,
    has_adapter,
    merged_weights,
    train_adapter,
    without_adapter,
)
from agents.llm.policy.policy import Policy, load_policy
from agents.llm.rollout.types import Group

IDS = torch.tensor([[1, 5, 9, 3]])


@pytest.fixture
def adapted(make_llama):
    model = make_llama()
    add_adapter(model, rank=2, alpha=4)
    # Away from zero, where an adapter begins, so that it has an effect.
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    return model.double()


def _groups(make_rollout):
    return [
        Group(
            rollouts=tuple(
                make_rollout(3, 2 + i, 4, 2, reward=r, seed=i)
                for i, r in enumerate((1.0, 0.0, 0.5))
            )
        )
    ]


def _learner(model, name="grpo", **changes):
    return Learner(
        model,
        algorithm=AlgorithmConfig(algorithm=name, critic_learning_rate=1e-2, **changes),
        optimizer=OptimizerConfig(learning_rate=1e-2),
        reference_model=model if changes.get("kl_coef") else None,
        total_updates=10,
    )


def test_an_adapter_says_nothing_at_first_and_alone_is_trained(make_llama):
    model, plain = make_llama(), make_llama()
    add_adapter(model, rank=2, alpha=4)
    torch.testing.assert_close(model(IDS).logits, plain(IDS).logits)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert not any("lm_head" in name or "embed" in name for name in trained)


def test_without_the_adapter_the_model_is_the_one_it_was(make_llama, adapted):
    plain, with_it = make_llama()(IDS).logits, adapted(IDS).logits
    assert (with_it - plain).abs().max() > 0.01
    with without_adapter(adapted):
        torch.testing.assert_close(adapted(IDS).logits, plain)
    torch.testing.assert_close(adapted(IDS).logits, with_it)
    assert all(w.requires_grad == ("lora_" in name) for name, w in adapted.named_parameters())


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_an_update_moves_adapters_and_no_other_weight(adapted, make_rollout, name):
    before = {key: weight.clone() for key, weight in adapted.state_dict().items()}
    learner = _learner(adapted, name, kl_coef=0.1)
    assert not learner.update(_groups(make_rollout)).skipped
    for key, weight in adapted.state_dict().items():
        assert torch.equal(weight, before[key]) != ("lora_" in key), key


def test_the_kl_is_that_to_the_model_without_its_adapter(make_llama, adapted, make_rollout):
    groups = _groups(make_rollout)
    shared = copy.deepcopy(adapted)
    apart = Learner(
        adapted,
        algorithm=AlgorithmConfig(kl_coef=0.1),
        optimizer=OptimizerConfig(learning_rate=1e-2),
        reference_model=make_llama(),
        total_updates=10,
    ).update(groups)
    together = _learner(shared, kl_coef=0.1).update(groups)
    assert apart.metrics["kl"] > 0
    assert together.metrics["kl"] == pytest.approx(apart.metrics["kl"])
    assert together.metrics["loss"] == pytest.approx(apart.metrics["loss"])


def test_a_critic_shares_what_is_frozen_and_keeps_its_own(adapted, make_rollout):
    critic = Critic.from_policy(adapted)
    own = trained_weights(critic)
    assert own and all("lora_" in name or name.startswith("head.") for name in own)
    ours = {weight.data_ptr() for weight in adapted.parameters() if not weight.requires_grad}
    frozen = [weight for weight in critic.parameters() if not weight.requires_grad]
    assert frozen and all(weight.data_ptr() in ours for weight in frozen)
    policy_adapters = {id(weight) for weight in adapted.parameters() if weight.requires_grad}
    assert policy_adapters.isdisjoint(id(weight) for weight in critic.parameters())


def test_a_saved_adapter_is_read_with_its_base_and_prompt(make_worded_policy, tmp_path):
    make_worded_policy().save(tmp_path / "base")
    policy = load_policy(tmp_path / "base")
    add_adapter(policy.model, rank=2, alpha=4)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    policy.record_env_settings({"prompt": "bare", "max_turns": 3})
    policy.save(tmp_path / "adapter")
    assert not list((tmp_path / "adapter").glob("model*.safetensors"))
    again = load_policy(tmp_path / "adapter")
    assert isinstance(again, Policy) and has_adapter(again.model)
    assert again.env_settings == {"prompt": "bare", "max_turns": 3}
    torch.testing.assert_close(again.model(IDS).logits, policy.model(IDS).logits)
    assert adapter_size(again.model) == (2, 4)
    train_adapter(again.model)
    assert any(weight.requires_grad for weight in again.model.parameters())


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ((), "adapter of rank 2 and alpha 4, got lora_rank=0"),
        (("--lora-rank", "8", "--lora-alpha", "4"), "got lora_rank=8"),
        (("--lora-rank", "2", "--lora-alpha", "4", "--kl-coef", "0.1"), "not near itself"),
    ],
)
def test_an_adapter_is_trained_as_it_is_or_not_at_all(make_worded_policy, tmp_path, flags, hint):
    make_worded_policy().save(tmp_path / "base")
    policy = load_policy(tmp_path / "base")
    add_adapter(policy.model, rank=2, alpha=4)
    policy.save(tmp_path / "adapter")
    folders = ["--policy", str(tmp_path / "adapter"), "--output", str(tmp_path / "run")]
    with pytest.raises(ValueError, match=hint):
        train([*folders, *flags])
    assert not (tmp_path / "run" / "checkpoints").exists()
    if "--kl-coef" not in flags:
        with pytest.raises(ValueError, match=hint):
            warm_start([*folders, "--episodes", "2", *flags])


# --- dtype ---------------------------------------------------------------------------------------

BASES = [("bfloat16", "float32"), ("float16", "float32"), ("float32", "float32")]


def _adapters(model):
    return {name: weight for name, weight in model.named_parameters() if "lora_" in name}


@pytest.mark.parametrize(("base", "expected"), [*BASES, ("float64", "float64")])
def test_adapters_are_float32_or_wider_before_and_after_a_checkpoint(tmp_path, base, expected):
    policy = load_policy("tiny", dtype=base)
    add_adapter(policy.model, rank=2, alpha=4)
    with torch.no_grad():
        for weight in _adapters(policy.model).values():
            weight.normal_()
    policy.save(tmp_path)
    again = load_policy(tmp_path, dtype=base)
    assert again.model.dtype == getattr(torch, base)
    assert {w.dtype for w in _adapters(policy.model).values()} == {getattr(torch, expected)}
    for name, weight in _adapters(again.model).items():
        assert weight.dtype == getattr(torch, expected)
        assert torch.equal(weight, _adapters(policy.model)[name])
    assert {w.dtype for _, w in merged_weights(again.model)} == {getattr(torch, base)}


def _moves(base, make_rollout=None):
    """Moves of the adapters in 20 steps of 1e-5, by updates or with equal gradients."""
    policy = load_policy("tiny", dtype="bfloat16")  # the same base weights
    model = policy.model.to(getattr(torch, base))
    torch.manual_seed(0)
    add_adapter(model, rank=4, alpha=8)
    before = [weight.detach().clone() for weight in _adapters(model).values()]
    optimizer = OptimizerConfig(learning_rate=1e-5)
    learner = Learner(
        model,
        algorithm=AlgorithmConfig(algorithm="sft"),
        optimizer=optimizer,
        total_updates=20,
    )
    for step in range(20):
        if make_rollout is not None:
            rollouts = (make_rollout(3, 9, 4, 9, seed=seed) for seed in range(8))
            assert not learner.update([Group(rollouts=tuple(rollouts))]).skipped
            continue
        generator = torch.Generator().manual_seed(step)
        for weight in _adapters(model).values():
            weight.grad = torch.randn(weight.shape, generator=generator)
        learner.optimizers["policy"].step()
    moved = zip(_adapters(model).values(), before, strict=True)
    return torch.cat([(after.detach() - old).flatten() for after, old in moved])


def test_with_equal_gradients_adapters_of_a_bfloat16_model_move_as_those_of_a_float32_model():
    ours, theirs = _moves("bfloat16"), _moves("float32")
    assert ours.dtype == torch.float32
    assert torch.cosine_similarity(ours, theirs, dim=0) >= 0.99
    torch.testing.assert_close(ours, theirs)


def test_updates_of_a_bfloat16_model_move_every_adapter_weight_with_a_gradient(make_rollout):
    ours, theirs = _moves("bfloat16", make_rollout), _moves("float32", make_rollout)
    # A weight that was rounded would stay, or move by a multiple of its last bit.
    assert (ours != 0).float().mean() >= 0.99 * (theirs != 0).float().mean()
    assert float(ours.abs().mean()) == pytest.approx(float(theirs.abs().mean()), rel=0.05)
