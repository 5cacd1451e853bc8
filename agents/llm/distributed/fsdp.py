"""FSDP2: weights, gradients and optimizer states sharded over the ranks, and full copies of them.

A layer is gathered while it computes and freed afterwards. Gradients of all ranks are summed, not
averaged: the losses already contain the denominators of the whole optimizer step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from agents.llm.distributed.context import DistributedContext
from agents.llm.policy.layers import layers_of

# Full tensors on the CPU of rank 0; other ranks get empty dicts.
_SAVE = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
_LOAD = StateDictOptions(full_state_dict=True, strict=False)


def apply_fsdp(module: nn.Module, distributed: DistributedContext) -> None:
    """Shard a module's weights over the ranks, in place; a no-op for a single process.

    Afterwards call the module itself, never a part of it, on all ranks equally often and in the
    same order.

    Args:
        module: identical on all ranks. Each transformer layer is gathered separately, everything
            outside of the layers together.
        distributed: the run's ranks.
    """
    if distributed.world_size == 1:
        return
    weight = next(module.parameters())
    mesh = init_device_mesh(weight.device.type, (distributed.world_size,))
    precision = MixedPrecisionPolicy(reduce_dtype=torch.promote_types(weight.dtype, torch.float32))
    # All weights of a group have one dtype, and the head of a critic is wider than its body.
    head = getattr(module, "head", None)
    heads = [head] if isinstance(head, nn.Module) else []
    for part in (*reversed(layers_of(module)), *heads, module):
        # The optimizer and checkpoints need sharded weights between passes.
        sharded = fully_shard(part, mesh=mesh, reshard_after_forward=True, mp_policy=precision)
        sharded.set_gradient_divide_factor(1.0)
        # gloo supports sum reductions only.
        sharded.set_force_sum_reduction_for_comms(True)


def full_tensor(values: Tensor) -> Tensor:
    """Return the full tensor of a sharded one; a collective call."""
    return values.full_tensor() if isinstance(values, DTensor) else values


@torch.no_grad()
def gather_weights(source: nn.Module, target: nn.Module, distributed: DistributedContext) -> None:
    """Copy the trained weights of a sharded module into a full copy on every rank, one by one.

    A no-op if both are the same module, as in a single process.
    """
    if source is target:
        return
    with distributed.waiting_for("gather the new weights"):
        for theirs, ours in zip(source.parameters(), target.parameters(), strict=True):
            if theirs.requires_grad:
                ours.copy_(full_tensor(theirs.detach()))


def trained_weights(module: nn.Module) -> dict[str, Any]:
    """Return the full trained weights by name, on rank 0; other ranks get an empty dict."""
    return get_model_state_dict(module, options=_SAVE)


def load_weights(module: nn.Module, weights: Mapping[str, Any]) -> None:
    """Load full weights by name; weights that are not given keep their values."""
    set_model_state_dict(module, dict(weights), options=_LOAD)


def optimizer_state(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the full state of a module's optimizer by weight name; empty before its first step.

    Ranks other than 0 get an empty dict.
    """
    # torch would initialize an empty state with a step, which Adam's bias correction counts.
    if not optimizer.state:
        return {}
    return dict(get_optimizer_state_dict(module, optimizer, options=_SAVE))


def load_optimizer_state(
    module: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
) -> None:
    """Load a state of `optimizer_state`, saved with any number of ranks."""
    if state:
        set_optimizer_state_dict(module, optimizer, dict(state), options=_LOAD)
    else:
        optimizer.state.clear()
