"""Models whose layers attend to a window get the logits of transformers' own forward."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.masking_utils import (
    causal_mask_function,
    chunked_causal_mask_function,
    sliding_window_causal_mask_function,
)

from agents.llm.generators.base import GenerationRequest, generate
from agents.llm.generators.hf import cuda_graphs, plans
from agents.llm.generators.hf import generator as transformers_generator
from agents.llm.generators.hf.attention import MaskRule, Scoring
from agents.llm.generators.hf.cuda_graphs import CudaGraphDecoder
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.learner.batch import Batch
from agents.llm.learner.models import LogprobModel
from agents.llm.policy.policy import Policy
from agents.llm.rollout.types import Group, Rollout, Segment, Source
from tests.agents.llm.generators.hf.ragged_episodes import play

WINDOW = 8
MIXED = ["sliding_attention", "full_attention"] * 2
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": WINDOW},
    "phi3": {"sliding_window": WINDOW},
    "qwen2": {"sliding_window": WINDOW, "use_sliding_window": True, "max_window_layers": 1},
    "gemma2": {"sliding_window": WINDOW, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 2.0},
    "gemma3_text": {"sliding_window": WINDOW, "query_pre_attn_scalar": 8, "layer_types": MIXED},
    "cohere2": {"sliding_window": WINDOW, "layer_types": MIXED},
    "gpt_oss": {"sliding_window": WINDOW, "layer_types": MIXED, "num_local_experts": 4},
}
SHORT = Sampling(max_new_tokens=12)


def _policy(tokenizer: Any, name: str, **settings: Any) -> Policy:
    shape = dict(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    config = AutoConfig.for_model(name, **(shape | ARCHITECTURES[name] | settings))
    torch.manual_seed(0)
    # As `load_policy` does: "sdpa" of older versions of transformers ignores the soft cap.
    kernel = "eager" if name == "gemma2" else None
    model = AutoModelForCausalLM.from_config(config, attn_implementation=kernel)
    for weight in model.parameters():
        if weight.ndim > 1:  # wide enough that what was read before changes what is likely next
            torch.nn.init.normal_(weight, std=0.2)
        elif "gpt_oss" in name:
            torch.nn.init.normal_(weight)  # also the sinks
    return Policy(model.eval(), tokenizer, name=name)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from tests.agents.llm.conftest import build_byte_tokenizer

    return build_byte_tokenizer()


@pytest.fixture(params=ARCHITECTURES)
def policy(request: pytest.FixtureRequest, tokenizer: Any) -> Policy:
    return _policy(tokenizer, request.param)


def _logprobs(policy: Policy, ids: Sequence[int]) -> Tensor:
    """[T, V] by transformers' own forward pass of one sequence."""
    with torch.inference_mode():
        return policy.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)


def _prompts() -> list[list[int]]:
    """Equal and different prompts, shorter and several times longer than a window."""
    long, short = [7 * i % 200 for i in range(3 * WINDOW + 1)], [3, 1, 4]
    return [long, long, short, [*short, 1, 5], long[: WINDOW - 1], long[: WINDOW + 1]]


@pytest.mark.parametrize("padded", [False, True], ids=["in turn", "padded"])
def test_sampled_logprobs_equal_those_of_a_forward_pass(
    policy: Policy, padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_prefers_padding", lambda device: padded)
    monkeypatch.setattr(plans, "_MAX_PADDING", 3)  # so that a prefill has several parts
    generator = TransformersGenerator(policy)
    ids, written = play(generator, _prompts(), turns=5, sampling=SHORT)
    assert min(map(len, ids)) > 5 * WINDOW
    assert len({generation.token_ids for turns in written for _, generation in turns}) > 15
    for row, turns in zip(ids, written, strict=True):
        logprobs_TV = _logprobs(policy, row)
        for start, turn in turns:
            expected = [
                logprobs_TV[place - 1, token].item()
                for place, token in enumerate(turn.token_ids, start)
            ]
            assert turn.logprobs == pytest.approx(expected, abs=3e-5)


def test_greedy_turns_equal_generate(policy: Policy) -> None:
    generator = TransformersGenerator(policy)
    greedy = Sampling(max_new_tokens=3 * WINDOW, temperature=0.0)
    prompts = _prompts()
    requests = [GenerationRequest(session=i, token_ids=ids) for i, ids in enumerate(prompts)]
    for ids, turn in zip(prompts, generate(generator, requests, greedy), strict=True):
        prompt = torch.tensor([ids])
        theirs = policy.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=3 * WINDOW,
            pad_token_id=0,
        )
        assert list(turn.token_ids) == theirs[0, len(ids) :].tolist()


def test_learner_logprobs_of_padded_rows_equal_those_of_each_row_alone(policy: Policy) -> None:
    ids, written = play(TransformersGenerator(policy), _prompts(), sampling=SHORT)
    rollouts = []
    for row, turns in zip(ids, written, strict=True):
        segments, end = [], 0
        for start, turn in turns:
            source = Source.ENVIRONMENT if end else Source.PROMPT
            segments.append(Segment(source=source, token_ids=tuple(row[end:start])))
            segments.append(
                Segment(source=Source.POLICY, token_ids=turn.token_ids, logprobs=turn.logprobs)
            )
            end = start + len(turn.token_ids)
        rollouts.append(_rollout(segments))
    batch = Batch.from_groups([Group(rollouts=tuple(rollouts))])
    (micro,) = batch.micro_batches(10_000)
    assert (micro.token_ids_BT == 0).any(), "some rows are padded"
    with torch.no_grad():
        ours_A = LogprobModel(policy.model)(micro)[0]
    expected = [
        _logprobs(policy, rollout.token_ids)[place - 1, token].item()
        for rollout in rollouts
        for place, (token, acted) in enumerate(
            zip(rollout.token_ids, rollout.action_mask, strict=True)
        )
        if acted
    ]
    by_token = torch.empty(len(expected))
    by_token[micro.tokens_A] = ours_A.float()
    assert by_token.tolist() == pytest.approx(expected, abs=3e-5)
    # The sampler and the learner agree as well.
    assert batch.sampled_logprobs_A.tolist() == pytest.approx(expected, abs=3e-5)


def _rollout(segments: Sequence[Segment]) -> Rollout:
    from zs_env import Question, Transcript

    question = Question(id="q", text="?", answers=("a",))
    transcript = Transcript(
        question=question, prompt="", reason="answer", reward_terms=(("answer", 1.0),)
    )
    return Rollout(segments=tuple(segments), transcript=transcript)


@pytest.mark.parametrize(
    ("name", "forgets"), [("mistral", True), ("llama", False), ("gemma3_text", False)]
)
def test_a_layer_with_a_window_forgets_what_lies_before_it(
    tokenizer: Any, name: str, forgets: bool
) -> None:
    """Two layers of window 8 reach back 2 * 7 positions, a full layer to the start."""
    settings: dict[str, Any] = {"num_hidden_layers": 2}
    if name == "gemma3_text":
        settings["layer_types"] = MIXED[:2]
    policy = _policy(tokenizer, name, **settings)
    suffix = [7 * i % 200 for i in range(2 * (WINDOW - 1) + 1)]
    sampling = Sampling(max_new_tokens=5)
    one, other = generate(
        TransformersGenerator(policy),
        [
            GenerationRequest(session=i, token_ids=[*first, *suffix], seed=3)
            for i, first in enumerate(([1, 2, 3], [4, 5, 6]))
        ],
        sampling,
    )
    assert (one.logprobs == pytest.approx(other.logprobs, abs=1e-5)) is forgets


def test_captured_decoding_of_windows_gives_finite_results(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Surplus rows of a graph have a position behind all windows: they attend to nothing."""
    policy = _policy(tokenizer, "mistral")
    plain = play(TransformersGenerator(policy), _prompts())
    seen: list[Tensor] = []

    def capture(compute: Any) -> Any:
        logits = compute().clone()
        seen.append(logits)
        return lambda: logits.copy_(compute()), logits

    monkeypatch.setattr(cuda_graphs, "_LENGTH_STEP", 16)
    monkeypatch.setattr(
        transformers_generator,
        "make_decoder",
        lambda cache, forward: CudaGraphDecoder(cache, forward, capture),
    )
    assert play(TransformersGenerator(policy), _prompts())[0] == plain[0]
    assert len(seen) > 3
    assert all(logits.isfinite().all() for logits in seen)


def test_a_rule_gives_the_bias_of_each_position() -> None:
    positions = torch.arange(5)
    rules = [
        MaskRule(causal_mask_function),
        MaskRule(sliding_window_causal_mask_function(2), 2),
        MaskRule(chunked_causal_mask_function(3, torch.zeros(1, dtype=torch.long)), 3),
    ]
    allowed = [
        (rule.bias(positions[3:], positions, torch.float32) == 0).long().tolist() for rule in rules
    ]
    assert allowed == [
        [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
        [[0, 0, 1, 1, 0], [0, 0, 0, 1, 1]],
        [[0, 0, 0, 1, 0], [0, 0, 0, 1, 1]],
    ]
    assert [rule.first_key(3) for rule in rules] == [0, 2, 1]
    assert [[rule.is_causal(length) for length in (2, 3, 4)] for rule in rules] == [
        [True, True, True],
        [True, False, False],
        [True, True, False],
    ]


def test_scores_are_capped_and_a_sink_takes_its_share() -> None:
    # Scores 2 and 0, capped at 1: tanh 2 = 0.964 and 0. A sink of score 0 has the weight of the
    # second position.
    query = torch.tensor([[[2.0, 0.0]]])
    keys, values = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.eye(2)[None]
    bias = torch.zeros(1, 2)
    high = torch.tensor(2.0).tanh().exp().item()
    capped = Scoring(scaling=1.0, softcap=1.0).attend(query, keys, values, bias, None)
    assert capped.flatten().tolist() == pytest.approx([high / (high + 1), 1 / (high + 1)])
    sink = torch.zeros(1, 1, 1)
    sunk = Scoring(scaling=1.0, softcap=1.0, sinks_KG1=sink).attend(query, keys, values, bias, sink)
    assert sunk.flatten().tolist() == pytest.approx([high / (high + 2), 1 / (high + 2)])
