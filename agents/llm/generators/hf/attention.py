"""Attention of new tokens to the rows of a KV cache, as an attention function of transformers.

Transformers decides which positions a layer attends to (all earlier ones, a sliding window, a
chunk). It passes that rule to the layer as its attention mask; the masks of the rows follow from
the rule and the positions of the new tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

ATTENTION = "zerosearch_rows"
# Arguments of attention functions that change no result here: the window is part of the mask.
_IGNORED = {
    "cache_position",
    "dropout",
    "is_causal",
    "position_ids",
    "return_dict",
    "sliding_window",
    "use_cache",
}


@dataclass(frozen=True, slots=True, eq=False)
class MaskRule:
    """The positions that a token attends to.

    Attributes:
        allows: maps batch, head, query position and key position to whether it attends to the key.
        reach: number of newest positions, including its own, that a token may attend to; None for
            all. A sequence of at most this length is masked causally.
    """

    allows: Callable[..., Tensor]
    reach: int | None = None

    def first_key(self, position: int) -> int:
        """A position before which a token at `position` attends to nothing."""
        return 0 if self.reach is None else max(0, position - self.reach + 1)

    def is_causal(self, length: int) -> bool:
        """Whether a sequence of this length is masked causally."""
        return self.reach is None or length <= self.reach

    def bias(self, queries: Tensor, keys: Tensor, dtype: torch.dtype) -> Tensor:
        """[..., Q, K] values added to the scores of [..., Q] query and [K] key positions.

        Blocked positions get the lowest finite number: rows without any position give no NaN.
        """
        allowed = self.allows(0, 0, queries[..., None], keys)
        bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
        return bias.masked_fill_(~allowed, torch.finfo(dtype).min)


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """How a layer weighs the positions.

    Attributes:
        scaling: factor of the scores; None is 1 / sqrt(head size).
        softcap: scores become softcap * tanh(scores / softcap) (Gemma 2).
        sinks_KG1: [key heads, group, 1] score of one more position, whose value is zero (gpt-oss).
    """

    scaling: float | None = None
    softcap: float | None = None
    sinks_KG1: Tensor | None = None

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None, sinks: Tensor | None
    ) -> Tensor:
        """[..., Q, size] outputs of [..., Q, size] queries; without a bias attention is causal."""
        if self.softcap is None and sinks is None:
            return nn.functional.scaled_dot_product_attention(
                query, keys, values, attn_mask=bias, is_causal=bias is None, scale=self.scaling
            )
        if bias is None:
            blocked = query.new_full((query.shape[-2],) * 2, torch.finfo(query.dtype).min)
            bias = blocked.triu(1)
        scores = (query @ keys.mT) * (self.scaling or query.shape[-1] ** -0.5)
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        scores = scores + bias
        if sinks is not None:
            scores = torch.cat([scores, sinks.to(scores.dtype).expand(*scores.shape[:-1], 1)], -1)
        weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
        return weights[..., : keys.shape[-2]].to(values.dtype) @ values


def _mask_rule(
    *,
    mask_function: Callable[..., Tensor],
    allow_is_causal_skip: bool = True,
    local_size: int | None = None,
    **kwargs: object,
) -> MaskRule:
    """Mask function of transformers, called once a forward pass for each type of layer."""
    if not allow_is_causal_skip:
        raise ValueError("it adds a mask of its own to the causal one")
    return MaskRule(mask_function, local_size)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: MaskRule | None,
    *,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    row_cache: Any = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Attention function of transformers; `row_cache` is a keyword argument of the model call."""
    if row_cache is None:
        raise ValueError(f"{type(module).__name__} did not pass row_cache to its attention")
    if not isinstance(attention_mask, MaskRule):
        raise ValueError(f"{type(module).__name__} makes its own attention mask")
    given = {name for name, value in kwargs.items() if value is not None and value is not False}
    unknown = sorted(given - _IGNORED)
    if unknown:
        raise ValueError(f"{type(module).__name__} has attention with {', '.join(unknown)}")
    sinks = None if s_aux is None else s_aux.view(key.shape[1], -1, 1)
    scoring = Scoring(scaling, softcap, sinks)
    return row_cache.attend(query, key, value, attention_mask, scoring), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, _mask_rule)
