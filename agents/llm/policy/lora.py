"""LoRA adapters inside a Hugging Face model, with peft.

The model keeps its class, so everything that uses a model works with and without adapters. Adapters
are float32 or wider, whatever the dtype of the base model: bfloat16 rounds small updates away.

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
    """Add an adapter to every linear layer of a model's body, and freeze all other weights.

    A new adapter adds zero.

    Args:
        model: a Hugging Face causal language model without adapters.
        rank: rank of the two matrices.
        alpha: scale of the adapter's output, times rank.

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
    _widen_adapter(model)


def reload_adapter(model: Any, source: str) -> None:
    """Read the weights of a loaded adapter again, in float32 or wider.

    transformers rounds them to the dtype of the base model.

    Args:
        model: loaded from `source`.
        source: folder or hub name of the adapter.
    """
    from peft import load_peft_weights, set_peft_model_state_dict

    _widen_adapter(model)
    stored = load_peft_weights(source, device=str(model.device))
    # Outside of peft's own models, names have no prefix.
    weights = {name.removeprefix("base_model.model."): weight for name, weight in stored.items()}
    set_peft_model_state_dict(model, weights)


def _widen_adapter(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            wide = torch.promote_types(parameter.dtype, torch.float32)
            parameter.data = parameter.data.to(wide)


def has_adapter(model: Any) -> bool:
    """Whether a model has adapters."""
    return getattr(model, "_hf_peft_config_loaded", False)


def adapter_size(model: Any) -> tuple[int, int]:
    """Return rank and alpha of a model's adapter."""
    (adapter,) = model.peft_config.values()
    return adapter.r, adapter.lora_alpha


def train_adapter(model: Any) -> None:
    """Make only the adapters trainable; loading a model makes everything trainable."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


@contextmanager
def without_adapter(model: Any) -> Iterator[None]:
    """Disable the adapter, so that the base model serves as the KL reference."""
    model.disable_adapters()
    try:
        yield
    finally:
        model.enable_adapters()


@torch.no_grad()
def merged_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights of a model without adapters, with the adapters merged into them.

    The model is not changed. Tied weights are yielded once on a GPU and under each of their names
    on a CPU, where vLLM 0.32 keeps a copy of a tied head that needs its own name.
    """
    for name, weight in model.named_parameters(remove_duplicate=model.device.type != "cpu"):
        if ".lora_" in name:
            continue
        owner, _, last = name.rpartition(".")
        if owner.endswith(".base_layer") and last == "weight":
            layer, dtype = model.get_submodule(owner.removesuffix(".base_layer")), weight.dtype
            for adapter in layer.active_adapters:
                weight = weight + layer.get_delta_weight(adapter)
            weight = weight.to(dtype)
        yield name.replace(".base_layer.", "."), weight
