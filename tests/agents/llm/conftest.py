"""Tiny rollouts and a tiny random Llama, exact enough (float64) to judge gradients by."""

import random
from collections.abc import Callable, Sequence

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agents.llm.segments import Rollout, Segment, Source
from zs_env import Question, Transcript

VOCABULARY = 40


def _make_rollout(
    *lengths: int,
    reward: float = 0.0,
    fault: str | None = None,
    seed: int = 0,
    logprobs: Sequence[float] | None = None,
) -> Rollout:
    """Random ids; lengths are those of prompt, policy, environment, policy, environment, ..."""
    rng = random.Random(seed)
    given = iter(logprobs or ())
    segments = []
    for index, length in enumerate(lengths):
        ids = tuple(rng.randrange(VOCABULARY) for _ in range(length))
        if index % 2:
            sampled = tuple(next(given, -3.0) for _ in range(length))
            segments.append(Segment(source=Source.POLICY, token_ids=ids, logprobs=sampled))
        else:
            source = Source.ENVIRONMENT if index else Source.PROMPT
            segments.append(Segment(source=source, token_ids=ids))
    transcript = Transcript(
        question=Question(id="q", text="?", answers=("a",)),
        prompt="",
        fault=fault,
        reason="fault" if fault else "answer",
        reward_terms=(("answer", reward),),
    )
    return Rollout(segments=tuple(segments), transcript=transcript)


@pytest.fixture
def make_rollout() -> Callable[..., Rollout]:
    return _make_rollout


@pytest.fixture
def make_llama() -> Callable[[int], LlamaForCausalLM]:
    """A two-layer random Llama in float64 for a seed."""

    def make(seed: int = 0) -> LlamaForCausalLM:
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=256,
            initializer_range=0.3,
            # Padding on purpose equal to an id that rollouts hold, and to the end of a sequence.
            pad_token_id=2,
            eos_token_id=2,
        )
        model = LlamaForCausalLM(config).double().eval()
        for layer in model.model.layers:
            layer.input_layernorm = torch.nn.RMSNorm(16, dtype=torch.float64)
            layer.post_attention_layernorm = torch.nn.RMSNorm(16, dtype=torch.float64)
        # Llama's own norms compute in float32, whatever the weights are in.
        model.model.norm = torch.nn.RMSNorm(16, dtype=torch.float64)
        return model

    return make
