"""The layers of a transformer; temporary activation checkpointing and compilation of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


def layers_of(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a transformer in order, as transformers marks them."""
    return [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]


def marked_layers(models: Iterable[nn.Module | None], setting: str) -> list[nn.Module]:
    """Return the layers of all models, each layer once, for a setting that needs them.

    Args:
        models: transformers; None is ignored.
        setting: name of the setting, for the error.

    Raises:
        ValueError: if a model has no layers.
    """
    layers: dict[nn.Module, None] = {}
    for model in models:
        if model is None:
            continue
        own = layers_of(model)
        if not own:
            raise ValueError(
                f"{type(model).__name__} has no transformer layers, expected a model of "
                f"transformers; set {setting}=False"
            )
        layers.update(dict.fromkeys(own))
    return list(layers)


def recomputing(layers: Sequence[nn.Module]) -> AbstractContextManager[None]:
    """Enable activation checkpointing of layers: their backward pass recomputes activations.

    The backward pass must run inside this context, and the layers must not use randomness
    (dropout). transformers' own gradient checkpointing works in train mode only, with dropout.
    """
    options = {"use_reentrant": False, "preserve_rng_state": False}
    return _replaced_forward(layers, lambda forward: partial(checkpoint, forward, **options))


def compiling(layers: Sequence[nn.Module]) -> AbstractContextManager[None]:
    """Enable torch.compile for layers.

    Equal layers are compiled once, in the first pass; only a pass of a single row recompiles.
    """
    return _replaced_forward(layers, partial(torch.compile, dynamic=True))


@contextmanager
def _replaced_forward(
    layers: Sequence[nn.Module], make: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    originals = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = make(layer.forward)
    try:
        yield
    finally:
        for layer, forward in zip(layers, originals, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward
