"""A Gymnasium space of Unicode text.

`gymnasium.spaces.Text` contains only strings over a fixed character set. This space contains every
string up to a length. The flattened form, also in shared memory, is the length followed by the code
points (int32), so that trailing NULs are kept.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import (
    flatdim,
    flatten,
    flatten_space,
    is_space_dtype_shape_equiv,
    unflatten,
)
from gymnasium.vector.utils import (
    batch_differing_spaces,
    batch_space,
    concatenate,
    create_empty_array,
    create_shared_memory,
    read_from_shared_memory,
    write_to_shared_memory,
)
from numpy.typing import NDArray

_LAST_CODE_POINT = 0x10FFFF
_FIRST_SURROGATE, _NUM_SURROGATES = 0xD800, 0x800


class UnicodeText(spaces.Space[str]):
    """Strings of `min_length` to `max_length` arbitrary code points.

    Args:
        max_length: maximum number of code points, at least 0.
        min_length: minimum number of code points.
        seed: seed of `sample`, which draws length and code points uniformly and excludes NUL and
            surrogates.
    """

    def __init__(
        self, max_length: int, *, min_length: int = 0, seed: int | np.random.Generator | None = None
    ) -> None:
        if not 0 <= min_length <= max_length:
            raise ValueError(
                f"UnicodeText needs 0 <= min_length <= max_length, got {min_length}, {max_length}"
            )
        self.min_length, self.max_length = int(min_length), int(max_length)
        # Samples are str and have no shape; the dtype is that of the flattened form.
        super().__init__(shape=None, dtype=np.int32, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """True: a text flattens to `1 + max_length` integers."""
        return True

    def sample(self, mask: None = None, probability: None = None) -> str:
        """Draw a text.

        Raises:
            ValueError: if a mask or probability is given; this space supports neither.
        """
        if mask is not None or probability is not None:
            raise ValueError("UnicodeText.sample does not support mask and probability; omit them")
        length = int(self.np_random.integers(self.min_length, self.max_length + 1))
        points = self.np_random.integers(
            1, _LAST_CODE_POINT + 1 - _NUM_SURROGATES, size=length, dtype=np.int32
        )
        points[points >= _FIRST_SURROGATE] += _NUM_SURROGATES
        return _decode(points)

    def contains(self, x: Any) -> bool:
        """Whether `x` is a string whose length is within the bounds."""
        return isinstance(x, str) and self.min_length <= len(x) <= self.max_length

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, UnicodeText)
            and self.min_length == other.min_length
            and self.max_length == other.max_length
        )

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length}, min_length={self.min_length})"


def _encode(text: str) -> NDArray[np.int32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<i4")


def _decode(points: NDArray[np.int32]) -> str:
    return points.astype("<i4", copy=False).tobytes().decode("utf-32-le", "surrogatepass")


def _store(text: str, cells: NDArray[np.int32]) -> None:
    """Write a text into `1 + max_length` cells; the cells after its end do not change."""
    cells[0] = len(text)
    cells[1 : 1 + len(text)] = _encode(text)


def _load(cells: NDArray[np.int32]) -> str:
    return _decode(cells[1 : 1 + int(cells[0])])


class SharedTexts(Sequence[str]):
    """A view of the texts in shared memory; a deep copy is a tuple.

    `AsyncVectorEnv` reads its memory once and returns deep copies of the result, so a tuple of
    strings would always contain the first observation.
    """

    def __init__(self, rows: NDArray[np.int32]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(_load(row) for row in self._rows[index])
        return _load(self._rows[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        return f"SharedTexts({tuple(self)!r})"


# `iterate` is not registered: without it Gymnasium iterates over the texts of a tuple, with it
# over the characters of a text.


@batch_space.register(UnicodeText)
def _batch_space(space: UnicodeText, n: int = 1) -> spaces.Tuple:
    return spaces.Tuple([deepcopy(space) for _ in range(n)], seed=_seed_after(space))


@batch_differing_spaces.register(UnicodeText)
def _batch_differing_spaces(texts: Sequence[UnicodeText]) -> spaces.Tuple:
    return spaces.Tuple([deepcopy(space) for space in texts], seed=_seed_after(texts[0]))


def _seed_after(space: UnicodeText) -> int:
    """Return a seed for a batch; with the space's own generator all copies would be equal."""
    return int(deepcopy(space.np_random).integers(2**31))


@concatenate.register(UnicodeText)
def _concatenate(space: UnicodeText, items: Sequence[str], out: Any) -> tuple[str, ...]:
    return tuple(items)


@create_empty_array.register(UnicodeText)
def _create_empty_array(
    space: UnicodeText, n: int = 1, fn: Callable[..., Any] = np.zeros
) -> tuple[str, ...]:
    return (" " * space.min_length,) * n


@create_shared_memory.register(UnicodeText)
def _create_shared_memory(space: UnicodeText, n: int = 1, ctx: Any = multiprocessing) -> Any:
    return ctx.Array(np.dtype(np.int32).char, n * (1 + space.max_length))


@read_from_shared_memory.register(UnicodeText)
def _read_from_shared_memory(space: UnicodeText, shared_memory: Any, n: int = 1) -> Any:
    cells = np.frombuffer(shared_memory.get_obj(), dtype=np.int32)
    return SharedTexts(cells.reshape(n, 1 + space.max_length))


@write_to_shared_memory.register(UnicodeText)
def _write_to_shared_memory(space: UnicodeText, index: int, value: str, shared_memory: Any) -> None:
    width = 1 + space.max_length
    cells = np.frombuffer(shared_memory.get_obj(), dtype=np.int32)
    _store(value, cells[index * width : (index + 1) * width])


@flatdim.register(UnicodeText)
def _flatdim(space: UnicodeText) -> int:
    return 1 + space.max_length


@flatten.register(UnicodeText)
def _flatten(space: UnicodeText, x: str) -> NDArray[np.int32]:
    cells = np.zeros(1 + space.max_length, dtype=np.int32)
    _store(x, cells)
    return cells


@unflatten.register(UnicodeText)
def _unflatten(space: UnicodeText, x: NDArray[np.int32]) -> str:
    return _load(np.asarray(x, dtype=np.int32))


@flatten_space.register(UnicodeText)
def _flatten_space(space: UnicodeText) -> spaces.Box:
    low = np.zeros(1 + space.max_length, dtype=np.int32)
    high = np.full(1 + space.max_length, _LAST_CODE_POINT, dtype=np.int32)
    low[0], high[0] = space.min_length, space.max_length
    return spaces.Box(low, high, dtype=np.int32)


@is_space_dtype_shape_equiv.register(UnicodeText)
def _is_space_dtype_shape_equiv(space_1: UnicodeText, space_2: object) -> bool:
    return isinstance(space_2, UnicodeText) and space_1.max_length == space_2.max_length
