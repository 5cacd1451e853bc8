from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from agents.llm.generators.base import GenerationRequest, generate
from agents.llm.generators.hf import generator as transformers_generator
from agents.llm.generators.hf import plans
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.hf.plans import Chunk
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy
from tests.agents.llm.generators.hf.ragged_episodes import SHORT, play, some_prompts


def _architectures(policy: Policy) -> list[Policy]:
    """The policy's tokenizer with random models of several families."""
    shape = dict(
        vocab_size=len(policy.tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=policy.tokenizer.eos_token_id,
        pad_token_id=policy.tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    models = [
        LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=1)),
        Qwen3ForCausalLM(Qwen3Config(**shape, num_key_value_heads=2, head_dim=16)),
        GPTNeoXForCausalLM(GPTNeoXConfig(**shape)),
    ]
    return [Policy(model.eval(), policy.tokenizer) for model in models]


@contextmanager
def _counted(policy: Policy):
    """Count the ids that the model processes."""
    read: list[int] = []
    hook = policy.model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    yield read
    hook.remove()


@pytest.mark.parametrize("padded", [False, True], ids=["in turn", "padded"])
@pytest.mark.parametrize("family", [0, 1, 2], ids=["llama", "qwen3", "gpt_neox"])
def test_sampled_logprobs_equal_those_of_a_forward_pass(make_policy, family, padded, monkeypatch):
    monkeypatch.setattr(plans, "_prefers_padding", lambda device: padded)
    monkeypatch.setattr(plans, "_MAX_PADDING", 3)  # so that a prefill has several parts
    policy = _architectures(make_policy())[family]
    ids, written = play(TransformersGenerator(policy), some_prompts(policy))
    errors = []
    for row, turns in zip(ids, written, strict=True):
        with torch.no_grad():
            logprobs = torch.log_softmax(policy.model(torch.tensor([row])).logits[0].float(), -1)
        for start, generation in turns:
            assert tuple(row[start : start + len(generation.token_ids)]) == generation.token_ids
            for place, token, logprob in zip(
                range(start, len(row)), generation.token_ids, generation.logprobs, strict=False
            ):
                errors.append(abs(float(logprobs[place - 1, token]) - logprob))
    assert len(errors) > 100
    assert max(errors) < 1e-5


def test_an_episode_does_not_depend_on_its_batch(make_policy):
    policy = make_policy()
    prompts = some_prompts(policy)
    together = generate(
        TransformersGenerator(policy),
        [GenerationRequest(session=i, token_ids=p, seed=i) for i, p in enumerate(prompts)],
        Sampling(max_new_tokens=40),
    )
    generator = TransformersGenerator(policy)
    for i in (4, 0, 5):
        request = GenerationRequest(session=i, token_ids=prompts[i], seed=i)
        (alone,) = generate(generator, [request], Sampling(max_new_tokens=40))
        assert alone.token_ids == together[i].token_ids
        assert alone.logprobs == pytest.approx(together[i].logprobs, abs=1e-5)
    # Members of a group see one prompt and still write different things.
    assert len({generation.token_ids for generation in together}) == len(prompts)


def test_turns_are_the_same_with_and_without_a_kept_cache(make_policy):
    policy = make_policy()
    ids, written = play(TransformersGenerator(policy), some_prompts(policy))
    fresh = TransformersGenerator(policy)
    for i, turns in enumerate(written):
        for start, generation in turns:
            fresh.release([i])
            request = GenerationRequest(session=i, token_ids=ids[i][:start], seed=i)
            (again,) = generate(fresh, [request], SHORT)
            assert again.token_ids == generation.token_ids


def test_earlier_contents_of_the_cache_change_no_bit(make_policy):
    policy = make_policy()
    used = TransformersGenerator(policy)
    play(used, [list(range(100)) * 3 for _ in range(9)], seed=5)
    used.release(range(9))
    _, after = play(used, some_prompts(policy))
    _, fresh = play(TransformersGenerator(policy), some_prompts(policy))
    assert after == fresh


def test_equal_prompts_are_processed_once_and_later_turns_only_new_ids(make_policy):
    policy = make_policy()
    generator = TransformersGenerator(policy)
    prompt = list(range(50))
    one = Sampling(max_new_tokens=1)
    requests = [GenerationRequest(session=i, token_ids=prompt, seed=i) for i in range(8)]
    with _counted(policy) as read:
        first = generate(generator, requests, one)
    assert read == [49, 8]  # the prompt without its last id, then one pass for all eight
    grown = [
        GenerationRequest(session=i, token_ids=[*prompt, *g.token_ids, 7, 8, 9], seed=i)
        for i, g in enumerate(first)
    ]
    with _counted(policy) as read:
        generate(generator, grown, one)
    assert read == [8 * 3, 8]  # the sampled id and two of the three new ones, then the third
    generator.release([0])
    with _counted(policy) as read:
        generate(generator, grown[:1], one)
    assert read == [53, 1]


def test_ended_turns_leave_the_batch(make_policy):
    policy = make_policy()
    # Every tenth token on average is a stop token, so episodes end at different times.
    policy.model.generation_config.eos_token_id = list(range(0, 256, 10))
    requests = [GenerationRequest(session=i, token_ids=[1, 2, 3], seed=i) for i in range(64)]
    generator = TransformersGenerator(policy)
    with _counted(policy) as read:
        turns = generate(generator, requests, Sampling(max_new_tokens=100))
    lengths = [len(turn.token_ids) for turn in turns]
    assert len(set(lengths)) > 5
    # An eighth of the rows may be over, and one more before a batch of few is compacted.
    passes = [sum(length > step for length in lengths) for step in range(max(lengths))]
    assert all(
        rows <= max(wanted / (1 - 1 / 8), wanted) + 1
        for rows, wanted in zip(read[1:], passes, strict=True)
    )
    for turn in turns:
        *earlier, last = (token in policy.codec.stop_token_ids for token in turn.token_ids)
        assert not any(earlier)
        assert turn.stop_reason == ("eos" if last else "length")
        assert last or len(turn.token_ids) == 100


def _biased(make_policy, text: str) -> Policy:
    """A policy that writes the bytes of a text over and over: each byte follows from the last."""
    policy = make_policy()
    ids = policy.codec.encode_environment(text)
    model = policy.model
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.randn_like(model.model.embed_tokens.weight))
        model.lm_head.weight.zero_()
        norms = model.model.embed_tokens.weight
        for before, after in pairwise(ids):
            model.lm_head.weight[after] += 50 * norms[before] / norms[before].norm()
    return policy


def test_a_turn_ends_with_its_closing_tag(make_policy):
    policy = _biased(make_policy, "xyz</search>")
    request = GenerationRequest(session=0, token_ids=policy.codec.encode_prompt("x"))
    (turn,) = generate(TransformersGenerator(policy), [request], Sampling(temperature=0.0))
    assert policy.codec.decode(turn.token_ids) == "yz</search>"
    assert turn.stop_reason == "tag"


def test_a_stop_token_stays_in_the_ids(make_policy):
    policy = _biased(make_policy, "abcx")
    policy.model.generation_config.eos_token_id = list(policy.codec.encode_environment("x"))
    policy = Policy(policy.model, policy.tokenizer)
    request = GenerationRequest(session=0, token_ids=policy.codec.encode_prompt("a"))
    (turn,) = generate(TransformersGenerator(policy), [request], Sampling(temperature=0.0))
    assert policy.codec.decode(turn.token_ids) == "bcx"
    assert policy.codec.decode_action(turn.token_ids) == "bc"
    assert turn.stop_reason == "eos"


def test_a_turn_ends_at_its_length_or_at_the_context_limit(make_policy):
    policy = _biased(make_policy, "ababa")
    generator = TransformersGenerator(policy, max_context=20)
    prompt = policy.codec.encode_prompt("a" * 10)
    requests = [
        GenerationRequest(session=0, token_ids=prompt[:2]),
        GenerationRequest(session=1, token_ids=prompt),
        GenerationRequest(session=2, token_ids=prompt * 2),
    ]
    turns = generate(generator, requests, Sampling(max_new_tokens=15, temperature=0.0))
    assert [(len(turn.token_ids), turn.stop_reason) for turn in turns] == [
        (15, "length"),
        (10, "context"),
        (0, "context"),
    ]


def test_changed_ids_are_counted_and_processed_again(make_policy):
    policy = make_policy()
    generator = TransformersGenerator(policy)
    (first,) = generate(generator, [GenerationRequest(session=0, token_ids=[1, 2, 3])], SHORT)
    known = [1, 2, 3, *first.token_ids]
    (turn,) = generate(generator, [GenerationRequest(session=0, token_ids=[*known, 4])], SHORT)
    assert turn.token_mismatch == 0
    changed = [1, 9, *known[2:]]
    (turn,) = generate(generator, [GenerationRequest(session=0, token_ids=changed)], SHORT)
    # All after the first id was read behind an id that is now another.
    assert turn.token_mismatch == len(known) + 1 + len(turn.token_ids) - 1
    (fresh,) = generate(
        TransformersGenerator(policy), [GenerationRequest(session=0, token_ids=changed)], SHORT
    )
    assert turn.token_ids == fresh.token_ids
    assert turn.logprobs == pytest.approx(fresh.logprobs, abs=1e-5)


def test_new_weights_are_used_at_once(make_policy):
    policy, other = make_policy(0), make_policy(1)
    generator = TransformersGenerator(policy)
    request = GenerationRequest(session=0, token_ids=[1, 2, 3])
    (before,) = generate(generator, [request], SHORT)
    generator.load_weights(other.model.state_dict())
    (after,) = generate(generator, [request], SHORT)
    (wanted,) = generate(TransformersGenerator(other), [request], SHORT)
    assert after.token_ids == wanted.token_ids != before.token_ids


def test_a_copy_of_another_dtype_follows_the_weights(make_policy):
    policy = _architectures(make_policy())[0]
    requests = [GenerationRequest(session=0, token_ids=some_prompts(policy)[0], seed=0)]
    generator = TransformersGenerator(policy, dtype=torch.bfloat16)
    (before,) = generate(generator, requests, SHORT)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(1.5)
    (stale,) = generate(generator, requests, SHORT)
    assert stale.token_ids == before.token_ids
    generator.load_weights()
    (after,) = generate(generator, requests, SHORT)

    assert policy.model.dtype == torch.float32
    rounded = [weight.to(torch.bfloat16) for weight in policy.model.parameters()]
    with torch.no_grad():
        for weight, value in zip(policy.model.parameters(), rounded, strict=True):
            weight.copy_(value)
    ids = torch.tensor([[*requests[0].token_ids, *after.token_ids]])
    with torch.autocast("cpu", torch.bfloat16):
        logits = policy.model(ids).logits[0, -len(after.token_ids) - 1 : -1].float()
    logprobs = logits.log_softmax(-1).gather(1, torch.tensor(after.token_ids)[:, None])[:, 0]
    assert torch.allclose(logprobs, torch.tensor(after.logprobs), atol=0.05)


def test_a_copy_of_the_same_dtype_changes_only_with_load_weights(make_policy):
    policy = make_policy()
    request = GenerationRequest(session=0, token_ids=[1, 2, 3])
    plain, copy = TransformersGenerator(policy), TransformersGenerator(policy, dtype=torch.float64)
    ((before,), (same,)) = (generate(one, [request], SHORT) for one in (plain, copy))
    assert same == before
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(-1)
    ((after,), (stale,)) = (
        generate(one, [replace(request, session=1)], SHORT) for one in (plain, copy)
    )
    assert stale == before and after.token_ids != before.token_ids
    copy.load_weights()
    (follows,) = generate(copy, [replace(request, session=2)], SHORT)
    assert follows == after


def test_the_model_is_restored_after_generation(make_policy):
    policy = make_policy()
    policy.model.train()
    generate(TransformersGenerator(policy), [GenerationRequest(session=0, token_ids=[1])], SHORT)
    assert policy.model.training
    assert policy.model.config._attn_implementation == "sdpa"
    assert policy.model(torch.tensor([[1, 2]])).logits.requires_grad


def test_logits_that_are_not_finite_are_an_error(make_policy):
    policy = make_policy()
    generator = TransformersGenerator(policy)
    request = GenerationRequest(session=0, token_ids=[1, 2])
    kept = policy.model.lm_head.weight.detach().clone()
    with torch.no_grad():
        policy.model.lm_head.weight.fill_(float("nan"))
    for sampling in (SHORT, Sampling(temperature=0.0, max_new_tokens=2)):
        with pytest.raises(FloatingPointError, match="lower the learning rate"):
            generate(generator, [request], sampling)
    with torch.no_grad():
        policy.model.lm_head.weight.copy_(kept)
    assert generate(generator, [request], SHORT)[0].token_ids


def test_invalid_requests_are_refused(make_policy):
    generator = TransformersGenerator(make_policy())
    with pytest.raises(ValueError, match="same session"):
        generate(generator, [GenerationRequest(session=0, token_ids=[1])] * 2, SHORT)
    with pytest.raises(ValueError, match="start it with a prompt"):
        generate(generator, [GenerationRequest(session=0, token_ids=[])], SHORT)


def test_chunks_are_grouped_by_length_and_number_of_scores(monkeypatch):
    monkeypatch.setattr(plans, "_MAX_PADDING", 3)
    monkeypatch.setattr(plans, "_MAX_SCORES", 150)
    # Tokens 1, 5 | 6, 7 | 7: 6 is more than 2 x 1 + 3, and three chunks of 7 tokens that attend to
    # 9 positions need 189 scores.
    lengths, begin = [7, 1, 6, 5, 7], 0
    chunks = []
    for row, length in enumerate(lengths):
        chunks.append(Chunk(row, 2, begin, begin + length))
        begin += length
    groups = [[chunk.row for chunk in group] for group in plans._group_by_length(chunks)]
    assert groups == [[1, 3], [2, 0], [4]]


def test_turns_join_a_batch_when_they_are_many_or_have_waited(make_policy, monkeypatch):
    monkeypatch.setattr(transformers_generator, "_JOIN_WITHIN", 5)
    policy = make_policy()
    generator = TransformersGenerator(policy)
    batches: list[set[int]] = []
    join = generator._join

    def watched_join() -> None:
        join()
        batches.append({turn.seed for turn in generator._batch.turns})

    monkeypatch.setattr(generator, "_join", watched_join)
    prompt = some_prompts(policy, 1)[0]

    def submit(*sessions: int) -> None:
        requests = [GenerationRequest(session=n, token_ids=prompt, seed=n) for n in sessions]
        generator.submit(requests, Sampling(max_new_tokens=100))

    def poll(tokens: int) -> None:
        left = iter(range(tokens))
        generator.poll(lambda: next(left, None) is None)

    monkeypatch.setattr(generator._stop, "reason", lambda ids: None)  # no turn ends early
    submit(0, 1, 2, 3)
    poll(1)
    submit(4)
    poll(5)
    assert batches == [{0, 1, 2, 3}]  # one turn waits while four are in progress
    poll(1)
    assert batches[1:] == [{0, 1, 2, 3, 4}]  # but at most five tokens
    submit(5, 6, 7)
    poll(1)
    assert batches[2:] == [set(range(8))]  # three are more than half of five
    generator.release(range(8))
    submit(8)
    poll(1)
    assert batches[3:] == [{8}]  # no turn is in progress, so it starts at once
