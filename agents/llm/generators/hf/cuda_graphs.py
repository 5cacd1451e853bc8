"""One token for each of the cache's first rows: in a pass of its own, or by a recorded one.

On a GPU a pass of a small model takes as long as its hundreds of kernels take to launch. Recorded
once as a CUDA graph, they are launched together. A recording holds for one number of rows and one
length only, so both are rounded up, and what is too much is computed and dropped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from agents.llm.generators.hf.kv_cache import RowCache

Run = Callable[[Tensor, Tensor], Tensor]
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]

# Recordings are made for lengths that are a multiple of this.
_LENGTH_STEP = 256


class Decoding(Protocol):
    """How the logits of every row's next token come about."""

    def room(self, rows: int, positions: int) -> tuple[int, int]:
        """Rows and positions that the cache needs for so many of them."""
        ...

    def logits(self, tokens_B: Tensor, positions_B: Tensor, length: int) -> Tensor:
        """Read one new token for each of the cache's first rows.

        Args:
            tokens_B: [B] the tokens.
            positions_B: [B] their places.
            length: the largest of them plus one.

        Returns:
            [B, V] logits of what follows; they hold until the next call.
        """
        ...


class PlainDecoding:
    """A forward pass each time."""

    def __init__(self, cache: RowCache, run: Run) -> None:
        self._cache, self._run = cache, run

    def room(self, rows: int, positions: int) -> tuple[int, int]:
        """No more than is asked for."""
        return rows, positions

    def logits(self, tokens_B: Tensor, positions_B: Tensor, length: int) -> Tensor:
        """See `Decoding`."""
        return self._run(tokens_B[:, None], self._cache.plan_decode(positions_B, length))[:, -1]


class CudaGraphDecoder:
    """A recorded pass, played back; weights may change in place between two of them.

    A model whose pass cannot be recorded is said so once, and read plainly from then on.

    Args:
        cache: whose rows are read.
        run: [B, 1] tokens and their positions in, [B, 1, V] logits out.
        record: runs a function, and returns what repeats it and the tensor that it fills anew.
    """

    def __init__(self, cache: RowCache, run: Run, record: Record) -> None:
        self._cache, self._record = cache, record
        self._plain = PlainDecoding(cache, run)
        self._recorded: dict[tuple[int, int], _Recorded] = {}
        self._stored: Tensor | None = None
        self._refused = False

    def room(self, rows: int, positions: int) -> tuple[int, int]:
        """As many as a recording reads, and one place that no row uses."""
        return _rounded_rows(rows), _rounded_length(positions) + 1

    def logits(self, tokens_B: Tensor, positions_B: Tensor, length: int) -> Tensor:
        """See `Decoding`."""
        count = len(tokens_B)
        recorded = self._recording(_rounded_rows(count), _rounded_length(length))
        if recorded is None:
            return self._plain.logits(tokens_B, positions_B, length)
        # Rows beyond the count may be those of episodes that wait: they write where nobody reads.
        recorded.positions_B.fill_(self._unused_place)
        recorded.positions_B[:count] = positions_B
        recorded.tokens_B[:count] = tokens_B
        recorded.replay()
        return recorded.logits_BV[:count]

    @property
    def _unused_place(self) -> int:
        return self._cache.stored.shape[3] - 1

    def _recording(self, rows: int, length: int) -> _Recorded | None:
        """The recording of that shape, made where it is missing; None where none can be made."""
        if self._refused:
            return None
        if self._cache.stored is not self._stored:  # it has grown, and lies elsewhere
            self._recorded.clear()
            self._stored = self._cache.stored
        shape = rows, length
        if shape not in self._recorded:
            try:
                self._recorded[shape] = self._make(rows, length)
            except RuntimeError as error:
                self._refused = True
                self._recorded.clear()
                warnings.warn(
                    f"decoding goes on without CUDA graphs, several times slower: {error}",
                    stacklevel=3,
                )
                return None
        return self._recorded[shape]

    def _make(self, rows: int, length: int) -> _Recorded:
        device = self._cache.stored.device
        tokens_B = torch.zeros(rows, dtype=torch.long, device=device)
        positions_B = torch.full_like(tokens_B, self._unused_place)
        replay, logits_BV = self._record(lambda: self._plain.logits(tokens_B, positions_B, length))
        return _Recorded(tokens_B, positions_B, logits_BV, replay)


@dataclass(frozen=True, slots=True, eq=False)
class _Recorded:
    """A recording, where it reads, and where it writes."""

    tokens_B: Tensor
    positions_B: Tensor
    logits_BV: Tensor
    replay: Callable[[], object]


class CUDAGraphs:
    """Records functions as CUDA graphs that share their memory: each spoils the others' results."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """Record a function; it is run once before, so that libraries have what they need.

        Args:
            compute: launches kernels on tensors that stay where they are, and waits for none.

        Returns:
            What repeats it, and the tensor that this fills anew.

        Raises:
            RuntimeError: if it does what a graph cannot hold, such as waiting for the device.
        """
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            compute()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        # Of what other threads do meanwhile (an update, a checkpoint) nothing is recorded.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            logits_BV = compute()
        return graph.replay, logits_BV


def make_decoding(cache: RowCache, run: Run) -> Decoding:
    """What is fastest where the cache lies.

    Args:
        cache: whose rows are read.
        run: [B, 1] tokens and their positions in, [B, 1, V] logits out.
    """
    if cache.stored.is_cuda:
        return CudaGraphDecoder(cache, run, CUDAGraphs())
    return PlainDecoding(cache, run)


def _rounded_rows(count: int) -> int:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, 24, ... that is not below a number."""
    power = 1 << (count - 1).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


def _rounded_length(length: int) -> int:
    return -(-length // _LENGTH_STEP) * _LENGTH_STEP
