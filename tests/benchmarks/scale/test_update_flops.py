"""The formula counts what torch counts, and pairs that are seen."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from agents.llm.learner.batch import Batch
from agents.llm.rollout.types import Group, Rollout, Segment, Source
from benchmarks.scale.update_flops import Reading, peak_flops, update_flops
from zs_env import Question, Transcript


def _rollout(prompt: int, *lengths: int) -> Rollout:
    """Lengths after the prompt's are those of the policy, the environment, the policy, ..."""
    segments = [Segment(source=Source.PROMPT, token_ids=(1,) * prompt)]
    for index, length in enumerate(lengths):
        source, logprobs = (Source.ENVIRONMENT, None) if index % 2 else (Source.POLICY, (0.0,))
        given = None if logprobs is None else logprobs * length
        segments.append(Segment(source=source, token_ids=(2,) * length, logprobs=given))
    question = Question(id="q", text="?", answers=("a",))
    return Rollout(segments=tuple(segments), transcript=Transcript(question=question, prompt=""))


@pytest.fixture
def batch() -> Batch:
    """Two rollouts of 9 and 6 tokens, of which 8 and 5 are read, with a prompt of 4."""
    return Batch.from_groups([Group(rollouts=(_rollout(4, 2, 1, 2), _rollout(4, 2)))])


def test_every_rollout_by_itself(batch: Batch) -> None:
    # A token sees itself and those before it: 1 + ... + 8, and 1 + ... + 5.
    assert Reading.of_rollouts(batch) == Reading(tokens=13, actions=6, pairs=36 + 15)


def test_a_shared_prompt_counts_once(batch: Batch) -> None:
    # The prompt's own 10 pairs, and 4 prompt tokens seen by 4 + 1 tokens, which see 10 + 1.
    assert Reading.of_lines(batch, 100) == Reading(tokens=4 + 4 + 1, actions=6, pairs=10 + 20 + 11)


def _model(tied: bool) -> Any:
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


@pytest.mark.parametrize("tied", [False, True])
def test_matrix_products_are_those_that_torch_counts(tied: bool) -> None:
    model = _model(tied)
    with FlopCounterMode(display=False) as counter:
        model(torch.ones((1, 10), dtype=torch.long)).logits.sum().backward()
    products = counter.get_flop_counts()["Global"]
    counted = sum(count for kind, count in products.items() if "mm" in str(kind))
    assert counted == update_flops(model, Reading(tokens=10, actions=10, pairs=0))


def test_attention_is_two_products_of_each_pair_and_their_gradients() -> None:
    # 2 layers, 4 heads of 4: query times key and weight times value are 2 x 2 x 16 a layer.
    pairs = update_flops(_model(True), Reading(tokens=0, actions=0, pairs=7))
    assert pairs == 7 * 2 * (2 * 2 * 16) * 3


def test_peaks_are_found_by_the_device() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA A100-SXM4-40GB") == 312e12
    assert peak_flops("this CPU") is None
