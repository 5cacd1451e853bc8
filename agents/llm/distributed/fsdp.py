"""Weights spread over the ranks of a run by FSDP2, and how they become whole again.

Each rank keeps a part of every weight, of its gradient and of the optimizer's state. A layer is
gathered when it computes and let go afterwards; gradients of all ranks are added up, since losses
carry their denominators already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from agents.llm.distributed.context import DistributedContext
from agents.llm.policy.layers import layers_of


def shard(module: nn.Module, distributed: DistributedContext) -> None:
    """Spread a module's weights over the ranks, in place; one rank keeps them as they are.

    Afterwards the module is used by calling it, not its parts, by all ranks equally often, in the
    same order.

    Args:
        module: the same on all ranks. Each layer of a transformer is gathered by itself, and what
            lies outside of the layers together.
        distributed: of the run.
    """
    if distributed.world_size == 1:
        return
    weight = next(module.parameters())
    mesh = init_device_mesh(weight.device.type, (distributed.world_size,))
    precision = MixedPrecisionPolicy(reduce_dtype=torch.promote_types(weight.dtype, torch.float32))
    for part in (*reversed(layers_of(module)), module):
        # Nothing stays gathered between passes: the parts are what is stepped, loaded and saved.
        spread = fully_shard(part, mesh=mesh, reshard_after_forward=True, mp_policy=precision)
        spread.set_gradient_divide_factor(1.0)
        # gloo knows no reduction but the sum.
        spread.set_force_sum_reduction_for_comms(True)


def whole(values: Tensor) -> Tensor:
    """A tensor as one process would have it; all ranks ask for it together."""
    return values.full_tensor() if isinstance(values, DTensor) else values


def part_of(values: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, the same on all ranks, spread as another is."""
    if not isinstance(like, DTensor):
        return values
    return distribute_tensor(
        values.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    )


@torch.no_grad()
def gather_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy what a module trains into its whole copy on every rank, one weight at a time."""
    for theirs, ours in zip(source.parameters(), target.parameters(), strict=True):
        if theirs.requires_grad:
            ours.copy_(whole(theirs.detach()))


@torch.no_grad()
def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy whole weights into a module by name; names that are not given stay as they are."""
    for name, ours in module.state_dict(keep_vars=True).items():
        if name in weights:
            ours.copy_(part_of(weights[name], ours))


def optimizer_state(optimizer: torch.optim.Optimizer, *, keep: bool = True) -> dict[str, Any]:
    """The state of an optimizer as one process would have it.

    Args:
        optimizer: of weights that may be spread.
        keep: whether this rank needs it; gathered tensors are empty where it does not.
    """
    state = optimizer.state_dict()
    state["state"] = {
        number: {name: _kept(value, keep) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return state


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Inverse of `optimizer_state`, on any number of ranks."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    parts = {
        number: {
            # A count of steps is no part of a weight.
            name: part_of(value, weights[number]) if value.dim() else value
            for name, value in values.items()
        }
        for number, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": parts})


def whole_weights(weights: Mapping[str, Tensor], *, keep: bool = True) -> dict[str, Tensor]:
    """Weights by name as one process would have them; see `optimizer_state` for `keep`."""
    return {name: _kept(values, keep) for name, values in weights.items()}


def _kept(values: Tensor, keep: bool) -> Tensor:
    if not isinstance(values, DTensor):
        return values
    gathered = whole(values)
    return gathered.cpu() if keep else gathered.new_empty(0)
