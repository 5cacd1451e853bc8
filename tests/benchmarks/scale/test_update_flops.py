"""The formula counts what torch counts, and pairs that are seen."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from agents.llm.learner.batch import Batch
from agents.llm.rollout.types import Group, Rollout, Segment, Source
from benchmarks.scale.update_flops import peak_flops, update_flops
from zs_env import Question, Transcript

# 2 layers, 4 heads of 4: query times key and weight times value are 2 x 2 x 16 in a layer, their
# gradients twice as much.
_PAIR = 2 * (2 * 2 * 16) * 3


def _rollout(prompt: int, *lengths: int) -> Rollout:
    """Lengths after the prompt's are those of the policy, the environment, the policy, ..."""
    segments = [Segment(source=Source.PROMPT, token_ids=(1,) * prompt)]
    for index, length in enumerate(lengths):
        source, logprobs = (Source.ENVIRONMENT, None) if index % 2 else (Source.POLICY, (0.0,))
        given = None if logprobs is None else logprobs * length
        segments.append(Segment(source=source, token_ids=(2,) * length, logprobs=given))
    question = Question(id="q", text="?", answers=("a",))
    return Rollout(segments=tuple(segments), transcript=Transcript(question=question, prompt=""))


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
    # 10 of the 11 tokens are read, and each predicts an action; 1 + ... + 10 pairs.
    batch = Batch.from_groups([Group(rollouts=(_rollout(1, 10),))])
    assert counted == update_flops(model, batch) - 55 * _PAIR


def test_other_logits_and_padding_do_not_count() -> None:
    model = _model(True)
    output = 6.0 * model.get_output_embeddings().weight.numel()
    layers = 6.0 * sum(
        part.weight.numel() for part in model.base_model.modules() if isinstance(part, nn.Linear)
    )
    # Rollouts of 9 and 6 tokens, of which 8 and 5 are read and 4 + 2 are actions.
    batch = Batch.from_groups([Group(rollouts=(_rollout(4, 2, 1, 2), _rollout(4, 2)))])
    assert update_flops(model, batch) == 13 * layers + 6 * output + (36 + 15) * _PAIR


def test_peaks_are_found_by_the_device() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA A100-SXM4-40GB") == 312e12
    assert peak_flops("this CPU") is None
