"""The store of keys and values grows as far as the system's memory allows."""

import errno
import mmap

import pytest
import torch

from agents.llm.generators.hf import kv_cache
from agents.llm.generators.hf.kv_cache import RowCache


@pytest.fixture
def limit(monkeypatch):
    """A system that refuses mappings above a number of bytes."""
    allowed = [0]
    mapped = mmap.mmap

    def refuse(handle, size, **settings):
        if size > allowed[0]:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return mapped(handle, size, **settings)

    monkeypatch.setattr(kv_cache.mmap, "mmap", refuse)
    return allowed


def test_a_refused_growth_gets_the_room_it_needs(make_llama, limit):
    cache = RowCache(make_llama())
    double, _, heads, _, size = cache.stored.shape
    limit[0] = double * 3 * heads * 128 * size * cache.stored.element_size()
    cache.reserve(2, 10, {})
    assert cache.stored.shape[1::2] == (2, 64)  # 4 * 10, in multiples of 64
    cache.stored.copy_(torch.rand_like(cache.stored))
    kept = cache.stored[:, 1, :, :7].clone()
    cache.reserve(3, 100, {1: 7})  # 4 * 100 positions are refused
    assert cache.stored.shape[1::2] == (3, 128)
    assert torch.equal(cache.stored[:, 1, :, :7], kept)


def test_memory_that_is_too_small_is_an_error_with_its_size(make_llama, limit):
    cache = RowCache(make_llama())
    limit[0] = 1
    message = r"2 episodes of up to 128 tokens need 0\.0 GiB \(Cannot allocate memory\)"
    with pytest.raises(OSError, match=message):
        cache.reserve(2, 100, {})
    assert cache.stored.numel() == 0
