"""Low-rank adapters in a Hugging Face model, by peft.

The model stays the class that it was, with small layers inside: whatever reads or trains a model
does so with or without them.

Source: arXiv:2106.09685.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def add_adapter(model: Any, *, rank: int, alpha: int) -> None:
    """Put an adapter beside every linear layer of a model's body and train nothing else.

    At first it adds nothing: the model says what it said before.

    Args:
        model: a Hugging Face causal language model without adapters.
        rank: of the two matrices.
        alpha: the adapter's output is scaled by alpha / rank.

    Raises:
        ImportError: if peft is missing.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ImportError('LoRA needs peft; pip install "zerosearch-gym[tune]"') from error
    base = Path(model.name_or_path)
    if base.exists():  # also from another working directory
        model.name_or_path = str(base.resolve())
    model.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear"))
    train_adapter(model)


def has_adapter(model: Any) -> bool:
    """Whether a model has adapters inside."""
    return getattr(model, "_hf_peft_config_loaded", False)


def adapter_size(model: Any) -> tuple[int, int]:
    """Rank and alpha of a model's adapter."""
    (adapter,) = model.peft_config.values()
    return adapter.r, adapter.lora_alpha


def train_adapter(model: Any) -> None:
    """Train a model's adapters and freeze the rest, as after `add_adapter`; loading undoes it."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


@contextmanager
def without_adapter(model: Any) -> Iterator[None]:
    """Have a model say what it would without its adapters: the reference of a KL for free."""
    model.disable_adapters()
    try:
        yield
    finally:
        model.enable_adapters()


@torch.no_grad()
def merged_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights under the names of a model without adapters, the adapters added in.

    The model itself stays as it is. Weights that share memory come once, but on a CPU each by its
    own: vLLM 0.32 there packs a copy of a tied head, which weights without that name never reach.
    """
    for name, weight in model.named_parameters(remove_duplicate=model.device.type != "cpu"):
        if ".lora_" in name:
            continue
        owner, _, last = name.rpartition(".")
        if owner.endswith(".base_layer") and last == "weight":
            layer = model.get_submodule(owner.removesuffix(".base_layer"))
            for adapter in layer.active_adapters:
                weight = weight + layer.get_delta_weight(adapter)
        yield name.replace(".base_layer.", "."), weight
