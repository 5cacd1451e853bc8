"""FLOPs that an update needs at least, and the peak FLOP/s of GPUs.

    6 N T                 N weights of the layers, T tokens that are read: forward 2, backward 4
    6 V D A               the output layer (V vocabulary, D hidden size), for A action tokens only
    12 L w P              L layers of attention width w, P pairs of a token and one that it sees

Padding, recomputation by gradient checkpointing and logits of other tokens do not count.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from agents.llm.learner.batch import Batch

# Dense bfloat16 FLOP/s by a part of the device's name, from the data sheets.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}


def update_flops(model: Any, batch: Batch) -> float:
    """Return the FLOPs of one forward and backward pass of a causal language model over a batch."""
    lengths = [len(ids) - 1 for ids in batch.token_ids]
    tokens, pairs = sum(lengths), sum(length * (length + 1) // 2 for length in lengths)
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    linear = [part for part in model.base_model.modules() if isinstance(part, nn.Linear)]
    return (
        6.0 * sum(part.weight.numel() for part in linear) * tokens
        + 6.0 * model.get_output_embeddings().weight.numel() * batch.num_tokens
        + 12.0 * config.num_hidden_layers * width * pairs
    )


def peak_flops(device_name: str) -> float | None:
    """Return the peak FLOP/s of a device; None if unknown."""
    return next((peak for part, peak in PEAKS.items() if part in device_name), None)
