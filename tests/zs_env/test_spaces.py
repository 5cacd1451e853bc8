"""The Unicode text space and its functions in Gymnasium."""

import pickle
import re

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim, flatten, flatten_space, unflatten
from gymnasium.vector.utils import (
    batch_differing_spaces,
    batch_space,
    concatenate,
    create_empty_array,
    create_shared_memory,
    iterate,
    read_from_shared_memory,
    write_to_shared_memory,
)
from hypothesis import given
from hypothesis import strategies as st

from zs_env.spaces import UnicodeText

TEXTS = [
    "",
    "Beyoncé?",
    "日本\n語",
    "\U0001f600 end",
    "nul\x00",
    "\x00\x00",
    "a\ud800b",
    "\U0010ffff",
]


def test_any_string_within_the_bounds_is_contained_and_nothing_else():
    space = UnicodeText(3, min_length=1)
    assert "Ω\x00\ud800" in space
    assert "" not in space
    assert "abcd" not in space
    assert b"abc" not in space


def test_a_minimum_above_the_maximum_is_an_error():
    with pytest.raises(ValueError, match=re.escape("got 4, 3")):
        UnicodeText(3, min_length=4)


def test_samples_are_contained_clean_and_repeatable():
    space, twin = UnicodeText(200, seed=5), UnicodeText(200, seed=5)
    samples = [space.sample() for _ in range(200)]
    assert samples == [twin.sample() for _ in range(200)]
    assert all(sample in space for sample in samples)
    points = {ord(character) for sample in samples for character in sample}
    assert 0 not in points
    assert not points & set(range(0xD800, 0xE000))
    assert max(points) > 0xFFFF, "the astral planes are sampled too"


def test_lengths_of_samples_reach_both_bounds():
    space = UnicodeText(2, seed=0)
    assert {len(space.sample()) for _ in range(100)} == {0, 1, 2}


def test_sampling_with_a_mask_is_an_error():
    with pytest.raises(ValueError, match="mask"):
        UnicodeText(2).sample(mask=(1, None))  # type: ignore[arg-type]


def test_spaces_are_equal_by_bounds_and_small_when_pickled():
    space = UnicodeText(130_000)
    assert space == UnicodeText(130_000)
    assert space != UnicodeText(130_001)
    assert space != UnicodeText(130_000, min_length=1)
    dumped = pickle.dumps(space)
    assert len(dumped) < 1000
    assert pickle.loads(dumped) == space


@given(st.lists(st.text(st.characters(codec=None), max_size=12), min_size=1, max_size=4))
def test_shared_memory_gives_back_what_was_written(texts):
    space = UnicodeText(12)
    memory = create_shared_memory(space, n=len(texts))
    for index, text in enumerate(texts):
        write_to_shared_memory(space, index, "x" * 12, memory)
        write_to_shared_memory(space, index, text, memory)
    assert tuple(read_from_shared_memory(space, memory, n=len(texts))) == tuple(texts)


@pytest.mark.parametrize("text", TEXTS)
def test_unflatten_undoes_flatten(text):
    space = UnicodeText(10)
    flat = flatten(space, text)
    assert flat.shape == (flatdim(space),) == (11,)
    assert flat in flatten_space(space)
    assert unflatten(space, flat) == text


def test_a_flat_text_is_its_length_and_its_code_points():
    assert flatten(UnicodeText(4), "aé").tolist() == [2, 97, 233, 0, 0]


def test_a_dict_of_texts_flattens_to_one_array():
    space = spaces.Dict({"a": UnicodeText(2), "b": spaces.Tuple([UnicodeText(1), UnicodeText(1)])})
    sample = {"a": "hi", "b": ("x", "")}
    assert flatten(space, sample).tolist() == [2, 104, 105, 1, 120, 0, 0]
    assert unflatten(space, flatten(space, sample)) == sample
    assert flatten_space(space).shape == (7,)


def test_a_batch_is_a_tuple_of_texts():
    space = UnicodeText(5)
    batched = batch_space(space, n=3)
    assert batched == spaces.Tuple([space, space, space])
    empty = create_empty_array(space, n=3)
    assert empty in batched
    assert concatenate(space, ("a", "b", "c"), empty) == ("a", "b", "c")


def test_spaces_of_different_length_can_be_batched():
    batched = batch_differing_spaces([UnicodeText(5), UnicodeText(7)])
    assert ("a" * 5, "b" * 7) in batched
    assert ("a" * 6, "b" * 7) not in batched


def test_a_batch_is_iterated_text_by_text_also_inside_a_dict():
    space = UnicodeText(5)
    assert list(iterate(batch_space(space, 2), ("ab", "cd"))) == ["ab", "cd"]
    nested = spaces.Dict({"pair": spaces.Tuple([space, space])})
    batch = {"pair": (("a1", "a2"), ("b1", "b2"))}
    assert list(iterate(batch_space(nested, 2), batch)) == [
        {"pair": ("a1", "b1")},
        {"pair": ("a2", "b2")},
    ]


def test_samples_of_one_batch_differ():
    batched = batch_space(UnicodeText(50, seed=1), n=4)
    assert len(set(batched.sample())) == 4


def test_an_empty_array_respects_the_shortest_length():
    space = UnicodeText(5, min_length=2)
    assert all(text in space for text in create_empty_array(space, n=2))


def test_shared_texts_are_live_until_they_are_copied():
    from copy import deepcopy

    space = UnicodeText(4)
    memory = create_shared_memory(space, n=2)
    texts = read_from_shared_memory(space, memory, n=2)
    write_to_shared_memory(space, 1, "one", memory)
    kept = deepcopy(texts)
    write_to_shared_memory(space, 1, "two", memory)
    assert kept == ("", "one")
    assert texts == ("", "two")
    assert isinstance(kept, tuple)


def test_code_points_are_stored_as_int32():
    memory = create_shared_memory(UnicodeText(3), n=2)
    assert np.frombuffer(memory.get_obj(), dtype=np.int32).shape == (8,)
