"""Rollouts in one line without padding, where those of a group share their prompt.

A prompt stands in the line once, before what its rollouts have beyond it: each of them sees the
prompt and itself, and no other. So a group's prompt is computed once, and so are its keys.

Shapes: N tokens of a line, L tokens that a span sees, H heads, K key/value heads, D head size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from transformers import AttentionInterface

from agents.llm.learner.line_blocks import attend_blocks, has_kernel, make_blocks
from agents.llm.policy.attention import reading_with

ATTENTION = "zerosearch_packed"


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of a line that follow each other in a rollout.

    Attributes:
        start: where they begin in the line.
        stop: where they end.
        prompt: where the prompt begins that they see; of a prompt itself, its own beginning.
        prompt_stop: where it ends; of a prompt itself, its own beginning.
    """

    start: int
    stop: int
    prompt: int
    prompt_stop: int

    @property
    def seen(self) -> int:
        """Tokens that the last of them sees, itself included."""
        return self.prompt_stop - self.prompt + self.stop - self.start


@dataclass(frozen=True, slots=True)
class Packing:
    """Where everything is in a line.

    Attributes:
        spans: that cover it, in order.
        positions_N: [N] place of each token in its own rollout.
        blocks: the same for an attention that is one kernel; None where spans are read in turn.
    """

    spans: tuple[Span, ...]
    positions_N: Tensor
    blocks: BlockMask | None = None

    def to(self, device: torch.device) -> Packing:
        """The same on another device, for the attention that is best there."""
        blocks = make_blocks(self.spans, device) if has_kernel(device) else None
        return Packing(self.spans, self.positions_N.to(device), blocks)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None) -> Tensor:
        """[1, N, H, D] of a line's queries [1, H, N, D], keys and values [1, K, N, D]."""
        if self.blocks is not None:
            return attend_blocks(self.blocks, query, keys, values, scaling)
        _, heads, _, size = query.shape
        shared = keys.shape[1]
        longest = max(span.seen for span in self.spans)
        blocked_LL = torch.full((longest, longest), -torch.inf).triu(1).to(query)
        parts = []
        for span in self.spans:
            count, own = span.stop - span.start, slice(span.start, span.stop)
            before, shape = span.seen - count, (shared, heads // shared, span.seen, size)
            attended = nn.functional.scaled_dot_product_attention(
                query[0, :, own].view(shared, heads // shared, count, size),
                _seen(keys, span).view(shared, 1, span.seen, size).expand(shape),
                _seen(values, span).view(shared, 1, span.seen, size).expand(shape),
                attn_mask=blocked_LL[before : span.seen, : span.seen] if before else None,
                is_causal=not before,
                scale=scaling,
            )
            parts.append(attended.reshape(heads, count, size).transpose(0, 1))
        return torch.cat(parts)[None]


def _seen(states: Tensor, span: Span) -> Tensor:
    """[K, L, D] of those [1, K, N, D] that a span sees."""
    own = states[0, :, span.start : span.stop]
    if span.prompt == span.prompt_stop:
        return own
    if span.prompt_stop == span.start:
        return states[0, :, span.prompt : span.stop]
    return torch.cat((states[0, :, span.prompt : span.prompt_stop], own), dim=1)


@contextmanager
def reading_lines(models: Iterable[Any]) -> Iterator[None]:
    """Let models read packed lines, and nothing else, until this ends.

    A backward pass that computes activations anew (gradient checkpointing) belongs inside.
    """
    with ExitStack() as restored:
        for model in models:
            restored.enter_context(reading_with(ATTENTION, model))
        yield


@torch.compiler.disable  # layers are compiled for all lines alike, whatever their spans
def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    packing: Packing | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it; `packing` comes through the model's own arguments."""
    if packing is None:
        raise ValueError(
            f"{type(module).__name__} did not hand the argument packing on to its attention; set "
            "share_prompts=False for this architecture"
        )
    longest = max(span.seen for span in packing.spans)
    if softcap is not None or (sliding_window is not None and sliding_window < longest):
        raise ValueError(
            f"{type(module).__name__} has softcap={softcap}, sliding_window={sliding_window}, "
            f"which packed lines (up to {longest} tokens of a rollout) do not have; set "
            "share_prompts=False for this model"
        )
    return packing.attend(query, key, value, scaling), None


AttentionInterface.register(ATTENTION, _attention)
