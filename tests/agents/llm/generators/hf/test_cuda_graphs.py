"""Decoding with captured graphs gives the results of plain decoding and changes no other row."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from agents.llm.generators.base import Generation, GenerationRequest, generate
from agents.llm.generators.hf import cuda_graphs
from agents.llm.generators.hf import generator as transformers_generator
from agents.llm.generators.hf.cuda_graphs import (
    CudaGraphCapture,
    CudaGraphDecoder,
    Decoder,
    make_decoder,
)
from agents.llm.generators.hf.forward import row_attention
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.hf.kv_cache import RowCache
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy
from tests.agents.llm.generators.hf.ragged_episodes import play, some_prompts

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class _FakeCapture:
    """Replays a function into a fixed tensor, as a CUDA graph does."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        self.count += 1
        result = compute().clone()
        return lambda: result.copy_(compute()), result


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> _FakeCapture:
    """Generators of this test decode with captured graphs."""
    capture = _FakeCapture()
    monkeypatch.setattr(
        transformers_generator,
        "make_decoder",
        lambda cache, forward: CudaGraphDecoder(cache, forward, capture),
    )
    # So short that an episode outgrows a graph, and the cache.
    monkeypatch.setattr(cuda_graphs, "_LENGTH_STEP", 16)
    return capture


def _play(generator: TransformersGenerator, ids: list[list[int]]) -> list[Generation]:
    _, written = play(generator, ids)
    return [turn for turns in written for _, turn in turns]


def _same(ours: list[Generation], theirs: list[Generation], within: float) -> None:
    assert [turn.token_ids for turn in ours] == [turn.token_ids for turn in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=within)


def test_captured_decoding_gives_the_turns_of_plain_decoding(
    make_policy: Any, capture: _FakeCapture
) -> None:
    policy = make_policy()
    captured = TransformersGenerator(policy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers_generator, "make_decoder", make_decoder)
        plain = TransformersGenerator(policy)
    theirs = _play(plain, some_prompts(policy))
    assert capture.count == 0
    ours = _play(captured, some_prompts(policy))
    assert capture.count > 3
    assert len(ours) > 10
    _same(ours, theirs, 1e-5)


def test_surplus_rows_write_to_the_unused_position(make_policy: Any, capture: _FakeCapture) -> None:
    model = make_policy().model
    cache = RowCache(model)

    def forward(ids: Tensor, positions: Tensor) -> Tensor:
        arguments = dict(past_key_values=cache, use_cache=True, row_cache=cache)
        return model(input_ids=ids, position_ids=positions, **arguments).logits

    decoder = CudaGraphDecoder(cache, forward, capture)
    cache.reserve(*decoder.required_size(5, 20), {})
    cache.stored.normal_()
    with row_attention(model), torch.inference_mode():
        decoder.logits(torch.arange(6), torch.arange(6) + 3, 9)  # captures the graph
        before = cache.stored.clone()
        decoder.logits(torch.arange(5), torch.arange(5) + 4, 9)
    assert capture.count == 1
    changed = (cache.stored != before).any(dim=(0, 2, 4))  # by row and position
    unused = cache.stored.shape[3] - 1
    assert changed.nonzero().tolist() == [[0, 4], [1, 5], [2, 6], [3, 7], [4, 8], [5, unused]]


def test_a_graph_uses_new_weights(make_policy: Any, capture: _FakeCapture) -> None:
    policy = make_policy()
    generator = TransformersGenerator(policy)
    request = GenerationRequest(session=0, token_ids=some_prompts(policy)[0], seed=0)
    sampling = Sampling(max_new_tokens=8)
    (before,) = generate(generator, [request], sampling)
    made = capture.count
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.3)
    generator.load_weights()
    (after,) = generate(generator, [request], sampling)
    (fresh,) = generate(TransformersGenerator(policy), [request], sampling)
    assert after.logprobs == pytest.approx(fresh.logprobs, abs=1e-6)
    assert after.logprobs != pytest.approx(before.logprobs, abs=1e-2)
    assert capture.count == 2 * made, "graphs of the first and of the fresh generator"


def test_a_model_that_cannot_be_captured_is_decoded_plainly(
    make_policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(compute: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing")

    policy = make_policy()
    theirs = _play(TransformersGenerator(policy), some_prompts(policy))
    monkeypatch.setattr(
        transformers_generator,
        "make_decoder",
        lambda cache, forward: CudaGraphDecoder(cache, forward, refuse),
    )
    with pytest.warns(UserWarning, match="without CUDA graphs.*capturing") as warnings_seen:
        ours = _play(TransformersGenerator(policy), some_prompts(policy))
    assert len(warnings_seen) == 1
    _same(ours, theirs, 1e-5)


def test_rows_and_lengths_are_rounded_up() -> None:
    decoder = CudaGraphDecoder(cache=None, forward=None, capture=None)  # type: ignore[arg-type]
    rows = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 24, 25, 32, 48, 49]
    rounded = [1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 16, 16, 24, 24, 32, 32, 48, 64]
    assert [decoder.required_size(count, 1)[0] for count in rows] == rounded
    # One position more than a graph of that length attends to.
    assert [decoder.required_size(1, length)[1] for length in (1, 256, 257)] == [257, 257, 513]


def test_a_cpu_decodes_plainly(make_policy: Any) -> None:
    cache = RowCache(make_policy().model)
    assert make_decoder(cache, lambda ids, positions: ids).required_size(5, 77) == (5, 77)


@needs_gpu
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_gpu_replays_graphs(make_policy: Any, deterministic: bool) -> None:
    tokenizer = make_policy().tokenizer
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
    )
    model: Any = Qwen2ForCausalLM(config).eval()
    policy = Policy(model.to("cuda"), tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers_generator, "make_decoder", Decoder)
        plain = TransformersGenerator(policy)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "decoding continues without")
            ours = _play(TransformersGenerator(policy), some_prompts(policy))
        _same(ours, _play(plain, some_prompts(policy)), 1e-4)
    finally:
        torch.use_deterministic_algorithms(False)
    graphs = CudaGraphCapture()
    given = torch.ones(3, device="cuda")
    replay, doubled = graphs(lambda: given * 2)
    given.fill_(5)
    replay()
    assert doubled.tolist() == [10.0] * 3
