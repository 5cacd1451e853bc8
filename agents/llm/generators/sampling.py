"""Token sampling with one random stream for each episode.

A sample depends only on the episode's seed and the token's position, not on the other rows of the
batch or on how generation is split into calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """Sampling settings.

    Attributes:
        temperature: divides the logits; 0 is greedy.
        max_new_tokens: longest turn, in tokens.
    """

    temperature: float = 1.0
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must be at least 0, got {self.temperature}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")


def as_int64(seed: int) -> int:
    """Wrap any integer into the range of int64."""
    seed &= 0xFFFFFFFFFFFFFFFF
    return seed - (1 << 64) if seed >> 63 else seed


def uniforms(seeds_B: Tensor, positions_B: Tensor) -> Tensor:
    """Hash each row's seed and position to a float64 in [0, 1).

    Args:
        seeds_B: [B] int64, see `as_int64`.
        positions_B: [B] int64, position of the sampled token.

    Source: the output function of SplitMix64 (Steele, Lea and Flood, 2014), applied twice to
    decorrelate neighbouring seeds and positions.
    """
    mixed = _mix(_mix(seeds_B) + positions_B * as_int64(0x9E3779B97F4A7C15))
    return ((mixed >> 12) & ((1 << 52) - 1)).double() * 2.0**-52


def _mix(value_B: Tensor) -> Tensor:
    # Tensors have no unsigned 64-bit arithmetic; the masks make the right shifts logical.
    value_B = (value_B ^ ((value_B >> 30) & ((1 << 34) - 1))) * as_int64(0xBF58476D1CE4E5B9)
    value_B = (value_B ^ ((value_B >> 27) & ((1 << 37) - 1))) * as_int64(0x94D049BB133111EB)
    return value_B ^ ((value_B >> 31) & ((1 << 33) - 1))


def sample_tokens(
    logits_BV: Tensor, *, temperature: float, uniforms_B: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Sample one token per row by inverting the cumulative distribution.

    Args:
        logits_BV: [B, V] of any float type; converted to float32.
        temperature: divides the logits; 0 is greedy and returns logprobs at temperature 1.
        uniforms_B: [B] float64 in [0, 1); unused at temperature 0.

    Returns:
        [B] int64 tokens and [B] float32 logprobs in nats, under the distribution sampled from.
    """
    logits_BV = logits_BV.float()
    if temperature not in (0.0, 1.0):
        logits_BV = logits_BV / temperature
    logprobs_BV = torch.log_softmax(logits_BV, dim=-1)
    if temperature == 0.0 or uniforms_B is None:
        tokens_B = logprobs_BV.argmax(dim=-1)
    else:
        # In float32 the tail of a large vocabulary would round to 0.
        cumulative_BV = logprobs_BV.exp().cumsum(dim=-1, dtype=torch.float64)
        threshold_B1 = (uniforms_B * cumulative_BV[:, -1]).unsqueeze(1)
        tokens_B = torch.searchsorted(cumulative_BV, threshold_B1, right=True).squeeze(1)
        # The index exceeds the vocabulary only if logits are not finite; the logprob shows it.
        tokens_B.clamp_(max=logits_BV.shape[1] - 1)
    return tokens_B, logprobs_BV.gather(1, tokens_B.unsqueeze(1)).squeeze(1)
