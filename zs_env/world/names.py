"""Names of the fictional world.

A name has two parts from a fixed stock. Train and held-out worlds use the same parts but share no
name: the parity of the sum of a pair's indices determines its split.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

Split = Literal["train", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "heldout")

# Number of first parts and of last parts of each kind of name.
_STOCK_SIZES = {"person": 100, "place": 90, "work": 70, "organisation": 60}
_ONSETS = (
    *("B", "Br", "C", "D", "Dr", "F", "G", "Gr", "H", "J", "K", "L", "M", "N", "P"),
    *("Pr", "Qu", "R", "S", "Sh", "T", "Th", "Tr", "V", "W", "Y", "Z"),
)
_VOWELS = ("a", "e", "i", "o", "u", "ae", "ia")
_MIDDLES = (
    *("b", "d", "f", "g", "l", "m", "n", "r", "s", "v", "z"),
    *("ld", "nd", "rn", "st", "sk", "rv"),
)
_ENDS = {
    "person": ["n", "l", "r", "s", "a", "o"],
    "place": ["dor", "mar", "ven", "th", "ska", "nia"],
    "work": ["x", "ne", "th", "lis", "um", "ra"],
    "organisation": ["co", "tek", "ix", "on", "el", "ar"],
}


def _make_stock() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the parts, which are always the same; each is used in one kind and position."""
    rng = random.Random("zerosearch-gym names")
    taken: set[str] = set()
    stock = {}
    for kind, size in _STOCK_SIZES.items():
        parts: list[str] = []
        while len(parts) < 2 * size:
            word = rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_MIDDLES)
            word += rng.choice(_VOWELS) + rng.choice(_ENDS[kind])
            if word not in taken and len(word) <= 9:
                taken.add(word)
                parts.append(word)
        stock[kind] = (tuple(parts[:size]), tuple(parts[size:]))
    return stock


NAME_PARTS = _make_stock()


def names_of(kind: str, split: Split, rng: random.Random) -> Iterator[str]:
    """Yield all names of a kind and split in random order."""
    firsts, lasts = NAME_PARTS[kind]
    parity = SPLITS.index(split)
    pairs = [
        (first, last)
        for i, first in enumerate(firsts)
        for j, last in enumerate(lasts)
        if (i + j) % 2 == parity
    ]
    rng.shuffle(pairs)
    return (f"{first} {last}" for first, last in pairs)
