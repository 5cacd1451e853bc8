"""A model's attention exchanged for one of ours, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def reading_with(attention: str, model: Any) -> Iterator[None]:
    """Let a transformers model attend by a registered function until this ends.

    Args:
        attention: name that the function is registered under in transformers' AttentionInterface.
        model: a PreTrainedModel, perhaps wrapped.
    """
    usual = model.config._attn_implementation or "sdpa"
    model.set_attn_implementation(attention)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)
