"""Updates of a copy of a policy, observed with hooks: gradients, positions read, head rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.distributed.fsdp import full_tensor
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.learner.metrics import UpdateReport
from agents.llm.learner.models import Critic
from agents.llm.policy.lora import add_adapter
from agents.llm.rollout.types import Group

MANY_TOKENS, ONE_ROLLOUT = 4096, 1
# With these, every logit row of an action token has a gradient.
_KL_AND_ENTROPY = {"kl_coef": 0.05, "entropy_coef": 0.01, "recompute_logprobs": False}
PLAIN = {"kl_coef": 0.0, "entropy_coef": 0.0}


@dataclass(frozen=True)
class How:
    """How an update is computed.

    Attributes:
        adapter: train a LoRA adapter; the model without it is the reference.
        autocast: compute in bfloat16, with weights in float32; otherwise in float64.
    """

    adapter: bool = False
    autocast: bool = False

    @property
    def close(self) -> float:
        """Tolerance for another summation order, relative to the largest entry.

        In bfloat16 (8 bits) a product is off by up to 0.4%; the largest observed error is 3.4%.
        """
        return 0.06 if self.autocast else 1e-6


HOWS = {
    "padded": How(),
    "adapter": How(adapter=True),
    "bfloat16": How(autocast=True),
}


@dataclass(frozen=True)
class Models:
    """A policy and its reference model; the same model if it has an adapter."""

    policy: Any
    reference: Any


def make_models(make_llama: Callable[[int], Any], how: How) -> Models:
    """Two-layer Llamas."""
    policy = make_llama(0)
    if how.adapter:
        policy = put_adapter(policy).double()
    models = Models(policy, policy if how.adapter else make_llama(1).requires_grad_(False))
    if how.autocast:
        models.policy.float(), models.reference.float()
    return models


def put_adapter(model: Any) -> Any:
    """Add an adapter with random weights: a new one adds zero."""
    add_adapter(model, rank=2, alpha=4)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    return model


@dataclass(frozen=True)
class Observed:
    """Observations of an update.

    Attributes:
        policy: [P] gradient of the policy's trained weights, float64; zeros if there is none.
        critic: [Q] gradient of the critic; empty without one.
        weights: [P + Q] weights of both after the update.
        report: report of the update.
        read: id of every position read by the trained models, and whether the body's output has a
            gradient there.
        head_rows: number of rows passed to the output head, in all passes.
    """

    policy: Tensor
    critic: Tensor
    weights: Tensor
    report: UpdateReport
    read: list[tuple[int, bool]]
    head_rows: int

    @property
    def gradient(self) -> Tensor:
        """[P + Q] of policy and critic."""
        return torch.cat([self.policy, self.critic])


def observe_update(
    models: Models,
    groups: Sequence[Group],
    name: Any,
    how: How,
    *,
    distributed: DistributedContext = SINGLE_PROCESS,
    max_tokens: int = MANY_TOKENS,
    critic_weight: float = 0.3,
    **settings: Any,
) -> Observed:
    """Make one update of a copy of the policy, by default with a KL and an entropy bonus."""
    policy, reference = copy.deepcopy((models.policy, models.reference))
    config = AlgorithmConfig(algorithm=name, **{**_KL_AND_ENTROPY, **settings})
    critic = None
    if config.row.needs_critic:
        critic = Critic.from_policy(policy)
        nn.init.constant_(critic.head.weight, critic_weight)
    read: list[tuple[int, bool]] = []
    for body in [policy.base_model] + ([critic.body] if critic is not None else []):
        _watch_body(body, read)
    learner = Learner(
        policy,
        algorithm=config,
        optimizer=OptimizerConfig(
            learning_rate=1e-3,
            max_grad_norm=1e30,
            tokens_per_micro_batch=max_tokens,
            autocast=how.autocast,
        ),
        reference_model=reference,
        critic=critic,
        total_updates=10,
        distributed=distributed,
    )
    with _watched_head(policy) as head_rows:
        report = learner.update(groups)
    modules = [policy] if learner.critic is None else [policy, learner.critic]
    return Observed(
        policy=gradient_of(policy),
        critic=gradient_of(learner.critic)
        if learner.critic is not None
        else torch.zeros(0).double(),
        weights=torch.cat(
            [full_tensor(w.detach()).flatten() for m in modules for w in _trained(m)]
        ),
        report=report,
        read=read,
        head_rows=sum(head_rows),
    )


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in module.parameters() if weight.requires_grad]


def gradient_of(module: nn.Module) -> Tensor:
    """[P] full gradient of the trained weights of a module, float64; zeros if there is none."""
    gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in _trained(module)]
    return torch.cat([full_tensor(gradient).flatten().double() for gradient in gradients])


def _watch_body(body: nn.Module, read: list[tuple[int, bool]]) -> None:
    def watch(_module: Any, _arguments: Any, given: Mapping[str, Any], output: Any) -> None:
        def see(gradient_BTD: Tensor) -> None:
            moved = (gradient_BTD != 0).any(-1)
            ids = given["input_ids"].flatten().tolist()
            read.extend(zip(ids, moved.flatten().tolist(), strict=True))

        if output.last_hidden_state.requires_grad:
            output.last_hidden_state.register_hook(see)

    body.register_forward_hook(watch, with_kwargs=True)


@contextmanager
def _watched_head(model: Any) -> Iterator[list[int]]:
    """Record the number of rows of each product with the output head."""
    rows: list[int] = []
    linear, height = nn.functional.linear, model.get_output_embeddings().weight.shape[0]

    def watch(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if weight.shape[0] == height:
            rows.append(states.shape[:-1].numel())
        return linear(states, weight, bias)

    with mock.patch.object(nn.functional, "linear", watch):
        yield rows


def assert_close(ours: Tensor, theirs: Tensor, close: float) -> None:
    """Assert that the largest difference is at most `close` times the largest entry."""
    assert theirs.abs().max() > 0
    apart = float((ours - theirs).abs().max() / theirs.abs().max())
    assert apart <= close
