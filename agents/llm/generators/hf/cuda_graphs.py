"""Decoding: the logits of one new token for each of the first rows of the cache.

On a GPU a forward pass of a small model takes as long as the launches of its hundreds of kernels. A
CUDA graph launches them at once. A graph is captured for one number of rows and one length, so both
are rounded up, and the surplus results are dropped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.llm.generators.hf.kv_cache import RowCache

# [B, 1] tokens and their positions to [B, 1, V] logits.
Forward = Callable[[Tensor, Tensor], Tensor]
# Captures a function; returns what replays it and the tensor that a replay fills.
Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]

# Graphs are captured for lengths that are a multiple of this.
_LENGTH_STEP = 256


class Decoder:
    """Decodes with a forward pass for each step."""

    def __init__(self, cache: RowCache, forward: Forward) -> None:
        self._cache, self._forward = cache, forward

    def required_size(self, rows: int, positions: int) -> tuple[int, int]:
        """Rows and positions that the cache must have to decode this many."""
        return rows, positions

    def logits(self, tokens_B: Tensor, positions_B: Tensor, length: int) -> Tensor:
        """Process one new token for each of the first B rows; `length` is the last position + 1.

        Returns:
            [B, V] logits of the next tokens, valid until the next call.
        """
        return self._forward(tokens_B[:, None], self._cache.plan_decode(positions_B, length))[:, -1]


class CudaGraphDecoder(Decoder):
    """Decodes by replaying CUDA graphs; weights may change in place between replays.

    If the model's forward pass cannot be captured, it warns once and decodes like `Decoder`.
    """

    def __init__(self, cache: RowCache, forward: Forward, capture: Capture) -> None:
        super().__init__(cache, forward)
        self._capture = capture
        self._graphs: dict[tuple[int, int], _Graph] = {}
        self._stored: Tensor | None = None
        self._capture_failed = False

    def required_size(self, rows: int, positions: int) -> tuple[int, int]:
        """The rounded size, and one position that no row uses."""
        return _rounded_rows(rows), _rounded_length(positions) + 1

    def logits(self, tokens_B: Tensor, positions_B: Tensor, length: int) -> Tensor:
        count = len(tokens_B)
        graph = self._graph(_rounded_rows(count), _rounded_length(length))
        if graph is None:
            return super().logits(tokens_B, positions_B, length)
        # Surplus rows may belong to waiting episodes: they write to the unused position.
        graph.positions_B.fill_(self._unused_position)
        graph.positions_B[:count] = positions_B
        graph.tokens_B[:count] = tokens_B
        graph.replay()
        return graph.logits_BV[:count]

    @property
    def _unused_position(self) -> int:
        return self._cache.stored.shape[3] - 1

    def _graph(self, rows: int, length: int) -> _Graph | None:
        """The graph of this shape, captured if missing; None if it cannot be captured."""
        if self._capture_failed:
            return None
        if self._cache.stored is not self._stored:  # The cache has grown and has moved.
            self._graphs.clear()
            self._stored = self._cache.stored
        shape = rows, length
        if shape not in self._graphs:
            try:
                self._graphs[shape] = self._capture_graph(rows, length)
            except RuntimeError as error:
                self._capture_failed = True
                self._graphs.clear()
                warnings.warn(
                    f"decoding continues without CUDA graphs, several times slower: {error}",
                    stacklevel=3,
                )
                return None
        return self._graphs[shape]

    def _capture_graph(self, rows: int, length: int) -> _Graph:
        device = self._cache.stored.device
        tokens_B = torch.zeros(rows, dtype=torch.long, device=device)
        positions_B = torch.full_like(tokens_B, self._unused_position)
        replay, logits_BV = self._capture(
            lambda: Decoder.logits(self, tokens_B, positions_B, length)
        )
        return _Graph(tokens_B, positions_B, logits_BV, replay)


@dataclass(frozen=True, slots=True, eq=False)
class _Graph:
    """A captured graph with its input and output tensors."""

    tokens_B: Tensor
    positions_B: Tensor
    logits_BV: Tensor
    replay: Callable[[], object]


class CudaGraphCapture:
    """Captures functions as CUDA graphs that share one memory pool.

    A replay of one graph may overwrite the results of the others.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """Capture a function of tensors with fixed addresses, after one warm-up call.

        Raises:
            RuntimeError: if a graph cannot hold an operation, such as a synchronization.
        """
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            compute()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        # "thread_local": other threads (an update, a checkpoint) may use the GPU meanwhile.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            logits_BV = compute()
        return graph.replay, logits_BV


def make_decoder(cache: RowCache, forward: Forward) -> Decoder:
    """Return the fastest decoder for the cache's device."""
    if cache.stored.is_cuda:
        return CudaGraphDecoder(cache, forward, CudaGraphCapture())
    return Decoder(cache, forward)


def _rounded_rows(count: int) -> int:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, 24, ... that is at least `count`."""
    power = 1 << (count - 1).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


def _rounded_length(length: int) -> int:
    return -(-length // _LENGTH_STEP) * _LENGTH_STEP
