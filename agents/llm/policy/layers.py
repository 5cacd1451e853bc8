"""A transformer's layers, and other ways to compute them for a while.

Computed anew in the backward pass, a layer keeps nothing but its input. Compiled, its many small
kernels become few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a transformer, as transformers marks them, in order."""
    return [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]


def marked_layers(model: nn.Module, setting: str) -> list[nn.Module]:
    """The same, for a setting that cannot do without them.

    Raises:
        ValueError: if there are none.
    """
    layers = layers_of(model)
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no layers that could be computed otherwise, expected a "
            f"model of transformers; set {setting}=False"
        )
    return layers


@contextmanager
def recomputing(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Let layers keep their inputs only, until this ends; their backward pass belongs inside.

    They must not draw anything (dropout): a second draw would be another one. transformers' own
    switch would not do: it works in train mode alone, where dropout draws.
    """

    def anew(forward: Callable[..., Any]) -> Callable[..., Any]:
        return partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False)

    with _exchanged(layers, anew):
        yield


@contextmanager
def compiling(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Let layers be compiled by torch.compile, until this ends.

    The first pass compiles, once for all layers that are alike; a pass of other sizes reuses that,
    but for the first of a single row.
    """
    with _exchanged(layers, partial(torch.compile, dynamic=True)):
        yield


@contextmanager
def _exchanged(
    layers: Sequence[nn.Module], make: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    usual = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = make(layer.forward)
    try:
        yield
    finally:
        for layer, forward in zip(layers, usual, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward
