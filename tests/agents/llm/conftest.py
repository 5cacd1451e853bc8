"""Tiny rollouts and a tiny random Llama, exact enough (float64) to judge gradients by."""

import random
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agents.llm.policy.policy import Policy
from agents.llm.rollout.types import Rollout, Segment, Source
from agents.llm.trainer.setup import random_state, restore_random_state
from zs_env import Question, Transcript

VOCABULARY = 40


def _make_rollout(
    *lengths: int,
    reward: float = 0.0,
    failure: str | None = None,
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
        failure=failure,
        reason="failure" if failure else "answer",
        reward_terms=(("answer", reward),),
    )
    return Rollout(segments=tuple(segments), transcript=transcript)


@pytest.fixture(scope="session")
def make_rollout() -> Callable[..., Rollout]:
    return _make_rollout


@pytest.fixture(scope="session")
def make_worded_policy(make_worded_llama) -> Callable[[], Policy]:
    """A policy of a few thousand random weights, with the tiny policy's tokenizer."""

    def make() -> Policy:
        model, tokenizer = make_worded_llama(
            intermediate_size=64, max_position_embeddings=1024, tie_word_embeddings=True
        )
        return Policy(model=model.train(), tokenizer=tokenizer)

    return make


@pytest.fixture(scope="session")
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


def build_byte_tokenizer(*, pad_is_eos: bool = True) -> PreTrainedTokenizerFast:
    """One token a byte, and <bos>, <eos> and <|im_end|>, which are control tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<eos>" if pad_is_eos else None,
        additional_special_tokens=["<|im_end|>"],
    )


def _make_policy(
    seed: int = 0,
    *,
    context: int = 1024,
    spread: float = 0.3,
    dtype: torch.dtype = torch.float64,
) -> Policy:
    tokenizer = build_byte_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        # Wide enough that what was read before changes what is likely next.
        initializer_range=spread,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Policy(LlamaForCausalLM(config).to(dtype).eval(), tokenizer, name=f"random {seed}")


@pytest.fixture
def make_policy() -> Callable[..., Policy]:
    """A two-layer random Llama that reads and writes bytes.

    In float64, another order of a sum changes no sampled token: episodes can be compared that were
    computed in batches of other shapes.
    """
    return _make_policy


@pytest.fixture
def torch_settings() -> Iterator[None]:
    """Puts back what training in this process changes."""
    threads, states = torch.get_num_threads(), random_state()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    restore_random_state(states)
