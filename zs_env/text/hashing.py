"""Deterministic hashing of strings to integers, the same on every machine."""

from __future__ import annotations

from hashlib import blake2b


def stable_hash(text: str) -> int:
    """Return a 64-bit hash as a non-negative integer."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def derive_seed(text: str) -> int:
    """Return a 63-bit seed."""
    return stable_hash(text) >> 1


def mixed(bits: int) -> int:
    """Map 64 bits one to one to 64 bits of which each looks independent of the highest ones.

    Source: Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4).
    """
    return bits * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF


def uniform(bits: int) -> float:
    """Map 64 bits to [0, 1)."""
    return (bits >> 11) * 2.0**-53
