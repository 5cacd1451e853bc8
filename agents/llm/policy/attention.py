"""Temporary replacement of a model's attention implementation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def attention_implementation(name: str, model: Any) -> Iterator[None]:
    """Use another attention function in a model while the context is open.

    Args:
        name: name of the function in transformers' AttentionInterface.
        model: a PreTrainedModel, possibly wrapped.
    """
    original = model.config._attn_implementation or "sdpa"
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(original)
