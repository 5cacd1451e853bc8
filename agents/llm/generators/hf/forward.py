"""Forward passes of a model of transformers over a row cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from agents.llm.generators.hf.attention import ATTENTION
from agents.llm.generators.hf.kv_cache import RowCache
from agents.llm.generators.hf.plans import Chunk

# Layers that keep the keys and values of each token, and nothing else. Llama 4's chunked attention
# is missing: its other layers take positions from the length of the cache.
_LAYER_TYPES = {"full_attention", "sliding_attention"}


def forward_rows(module: nn.Module, cache: RowCache, ids: Tensor, position_ids: Tensor) -> Any:
    """Process the tokens of the cache's plan; call it inside `row_attention`."""
    return module(
        input_ids=ids,
        position_ids=position_ids,
        past_key_values=cache,
        use_cache=True,
        row_cache=cache,
    )


@contextmanager
def row_attention(model: PreTrainedModel) -> Iterator[None]:
    """Use the row cache's attention and evaluation mode inside the block."""
    training, attention = model.training, model.config._attn_implementation or "sdpa"
    model.eval()
    model.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(attention)
        model.train(training)


class _Recorder(RowCache):
    """A row cache that records which layers use it."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        self.layers_stored: set[int] = set()
        self.num_attended = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        self.layers_stored.add(layer_idx)
        expected = (self.stored.shape[2], self.stored.shape[4])
        for states in (key_states, value_states):
            heads, size = states.shape[1], states.shape[3]
            if (heads, size) != expected:
                raise ValueError(
                    f"its keys or values have {heads} heads of size {size}, expected {expected[0]} "
                    f"heads of size {expected[1]}, as in its configuration"
                )
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)

    def attend(self, *args: Any) -> Tensor:
        self.num_attended += 1
        return super().attend(*args)


def check_architecture(model: PreTrainedModel) -> None:
    """Check that a row cache holds all that a model keeps of earlier tokens.

    It also processes three tokens, with every layer.

    Raises:
        ValueError: if the model has recurrent layers, layers without keys and values of their own,
            or an attention that the row cache does not compute.
    """
    problem = _problem(model)
    if problem is not None:
        raise ValueError(
            f"{type(model).__name__} is not supported by the generator 'transformers': {problem}; "
            "use another model, or the generator 'vllm'"
        )


def _problem(model: PreTrainedModel) -> str | None:
    """Why a row cache does not support a model; None if it does."""
    config = model.config.get_text_config()
    if model._is_stateful:
        return "it has recurrent layers"
    other_types = set(getattr(config, "layer_types", None) or ()) - _LAYER_TYPES
    if other_types:
        return f"it has layers of type {', '.join(sorted(other_types))}"
    try:
        cache = _Recorder(model)
        cache.reserve(1, 3, {})
        with row_attention(model), torch.inference_mode():
            positions = cache.plan_prefill([Chunk(0, 0, 0, 2)])
            forward_rows(model.base_model, cache, torch.zeros_like(positions), positions)
            positions = cache.plan_decode(positions[0, -1:] + 1, 3)
            forward_rows(model, cache, torch.zeros_like(positions), positions)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        return f"a forward pass over a row cache failed ({error})"
    count = config.num_hidden_layers
    if cache.layers_stored != set(range(count)) or cache.num_attended != 2 * count:
        return "not all of its layers use the attention function and the cache of transformers"
    return None
