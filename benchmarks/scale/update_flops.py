"""Floating-point operations that an update cannot do without, and what share of a device they are.

    6 N T                 weights of the layers N, tokens that are read T: forward 2, backward 4
    6 V D A               the output layer, for action tokens A only
    12 L w P              L layers of attention width w, P pairs of a token and one that it sees

Padding, what gradient checkpointing computes anew, and logits of other tokens are no part of it:
they make an update slower, not larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from agents.llm.learner.batch import Batch

# Dense bf16 FLOP/s by a part of the device's name, as their makers give them.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How much is read in an update.

    Attributes:
        tokens: T.
        actions: A.
        pairs: P.
    """

    tokens: int
    actions: int
    pairs: int

    @classmethod
    def of_rollouts(cls, batch: Batch) -> Reading:
        """Every rollout by itself."""
        lengths = [len(ids) - 1 for ids in batch.token_ids]
        return cls(
            tokens=sum(lengths),
            actions=batch.num_tokens,
            pairs=sum(length * (length + 1) // 2 for length in lengths),
        )


def update_flops(model: Any, reading: Reading) -> float:
    """Operations of one forward and backward pass of a Hugging Face causal language model."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    linear = [part for part in model.base_model.modules() if isinstance(part, nn.Linear)]
    return (
        6.0 * sum(part.weight.numel() for part in linear) * reading.tokens
        + 6.0 * model.get_output_embeddings().weight.numel() * reading.actions
        + 12.0 * config.num_hidden_layers * width * reading.pairs
    )


def peak_flops(device_name: str) -> float | None:
    """What a device can do in a second at most; None where it is not known."""
    return next((peak for part, peak in PEAKS.items() if part in device_name), None)
