"""On policy, the learner's gradient is that of REINFORCE with the advantages of the algorithm.

`worked_advantages.py` computes these advantages independently.
"""

import copy
import math
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from agents.llm.algorithms.registry import ALGORITHMS, AlgorithmConfig, AlgorithmName
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.vllm.server import VLLMServerGenerator
from agents.llm.generators.vllm.weight_sync import FolderSync
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.policy.policy import Policy
from agents.llm.rollout.types import Group, Rollout
from tests.agents.llm.generators.generator_laws import collect_groups
from tests.agents.llm.generators.vllm.vllm_stub import VLLMStub
from tests.agents.llm.learner.labelled_rollouts import ragged_groups, reverse, sampled_by
from tests.agents.llm.learner.observed_updates import (
    HOWS,
    ONE_ROLLOUT,
    PLAIN,
    How,
    Models,
    assert_close,
    make_models,
    observe_update,
    put_adapter,
)
from tests.agents.llm.learner.worked_advantages import WITHOUT_GROUPS, WORKED_OUT, expected_gradient

NAMES = sorted(get_args(AlgorithmName))

every_row = pytest.mark.parametrize("name", NAMES)
every_way = pytest.mark.parametrize("way", HOWS)


@pytest.fixture(scope="module")
def models(make_llama: Any) -> dict[str, Models]:
    return {way: make_models(make_llama, how) for way, how in HOWS.items()}


# --- on policy -----------------------------------------------------------------------------------


def test_every_algorithm_has_worked_advantages() -> None:
    assert sorted(WORKED_OUT) == NAMES


@every_row
@every_way
def test_the_first_update_on_policy_has_the_gradient_of_reinforce(
    models: Any, name: str, way: str
) -> None:
    # At a ratio of 1 nothing is clipped, and the weights of CISPO and GSPO are 1. In bfloat16 the
    # ratio to the float32 sampler is not 1, so old log-probabilities are recomputed.
    how, policy = HOWS[way], models[way].policy
    given = sampled_by(policy, ragged_groups())
    settings = {**PLAIN, "recompute_logprobs": how.autocast, "critic_weight": 0.0}
    seen = observe_update(models[way], given, name, how, **settings)
    assert_close(seen.policy, expected_gradient(policy, given, name), how.close)
    assert seen.report.metrics["ratio_mean"] == pytest.approx(1.0, abs=how.close)
    assert seen.report.metrics["clip_fraction"] == 0.0


@every_row
def test_near_a_ratio_of_one_tokens_are_weighted_by_their_ratio_within_the_bounds(
    models: Any, name: str
) -> None:
    # The sampler's log-probabilities are off by 1e-3 nats per token, with alternating signs. Only
    # the bounds of GSPO are narrower than that and clip.
    off, row, policy = 1e-3, ALGORITHMS[name], models["padded"].policy
    given = sampled_by(policy, ragged_groups(), (off,))
    advantages, counts = WORKED_OUT[name](given), []
    for number, rollout in enumerate(rollout for group in given for rollout in group.rollouts):
        ratio = math.exp(off if number % 2 else -off)
        for _ in range(sum(rollout.action_mask)):
            advantage = advantages[len(counts)]
            gone = ratio > 1 + row.clip[1] if advantage > 0 else ratio < 1 - row.clip[0]
            counts.append(0.0 if gone and advantage else ratio)
    assert (0.0 in counts) == (name == "gspo")
    seen = observe_update(models["padded"], given, name, How(), critic_weight=0.0, **PLAIN)
    assert_close(seen.policy, expected_gradient(policy, given, name, counts), How().close)


# --- equal rewards -------------------------------------------------------------------------------


@every_row
@every_way
def test_equal_rewards_in_every_group_give_no_gradient_if_groups_are_compared(
    models: Any, name: str, way: str
) -> None:
    how, policy = HOWS[way], models[way].policy
    given = sampled_by(policy, ragged_groups(((1.0,) * 4, (0.25,) * 4)))
    seen = observe_update(models[way], given, name, how, critic_weight=0.0, **PLAIN)
    if name in WITHOUT_GROUPS:
        # Without a group baseline, the easier question has the higher advantage.
        assert_close(seen.policy, expected_gradient(policy, given, name), how.close)
    else:
        assert seen.report.skipped and seen.report.reason == "every advantage is zero"
        assert torch.equal(seen.weights, _trained_weights(policy))
        assert not seen.policy.any() and not seen.head_rows


@every_row
def test_equal_rewards_give_a_gradient_to_reinforce_only(models: Any, name: str) -> None:
    policy = models["padded"].policy
    given = sampled_by(policy, ragged_groups(((0.5,) * 4, (0.5,) * 4)))
    seen = observe_update(models["padded"], given, name, How(), critic_weight=0.0, **PLAIN)
    if name == "reinforce":
        assert_close(seen.policy, expected_gradient(policy, given, name), How().close)
    else:
        assert not seen.policy.any()
        # The critic still has a gradient.
        assert bool(seen.critic.any()) == ALGORITHMS[name].needs_critic


@every_row
def test_a_discount_affects_algorithms_with_token_or_turn_returns(models: Any, name: str) -> None:
    # Late turns get a higher return than early ones of the same rollout. Algorithms with one
    # advantage per rollout do not discount.
    given = sampled_by(models["padded"].policy, ragged_groups(((0.5,) * 4, (0.5,) * 4)))
    seen = observe_update(
        models["padded"], given, name, How(), critic_weight=0.0, gamma=0.9, **PLAIN
    )
    assert bool(seen.policy.any()) == (name in {*WITHOUT_GROUPS, "grpo_turn"})


def _trained_weights(model: Any) -> torch.Tensor:
    return torch.cat([w.detach().flatten() for w in model.parameters() if w.requires_grad])


# --- sampled rollouts ----------------------------------------------------------------------------

# Room for two turns of 6 tokens and a part of a third.
CONTEXT = 110


def _play(policy: Policy, generator: Any) -> list[Group]:
    """Two groups of two with fixed rewards: a random policy earns none."""
    groups = collect_groups(policy, generator, group_size=2, max_new_tokens=6)

    def rewarded(rollout: Rollout, reward: float) -> Rollout:
        terms = (("answer", reward),)
        return replace(rollout, transcript=replace(rollout.transcript, reward_terms=terms))

    return [
        Group(rollouts=tuple(map(rewarded, group.rollouts, rewards)))
        for group, rewards in zip(groups, ((1.0, 0.0), (0.8, 0.4)), strict=True)
    ]


@pytest.fixture(scope="module", params=["transformers", "vLLM server"])
def sampler(request: Any) -> str:
    return request.param


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "adapter"])
def sampled(
    request: Any, sampler: str, make_worded_llama: Any, tmp_path_factory: Any
) -> tuple[Any, list[Group]]:
    """A policy in float64, and its rollouts sampled in float32, in process or over HTTP."""

    def make() -> Policy:
        model, tokenizer = make_worded_llama(
            num_hidden_layers=2, initializer_range=0.3, tie_word_embeddings=True
        )
        return Policy(model=model, tokenizer=tokenizer)

    policy = make()
    if request.param:
        put_adapter(policy.model)
    if sampler == "transformers":
        groups = _play(policy, TransformersGenerator(policy, max_context=CONTEXT))
    else:
        stub = VLLMStub(max_model_len=CONTEXT)
        stub.policy = make()  # the adapter comes merged into the weights
        sync = FolderSync([stub.url], tmp_path_factory.mktemp("weights"))
        groups = _play(policy, VLLMServerGenerator(policy, [stub.url], weights=sync))
        stub.stop()
    return copy.deepcopy(policy.model).double().eval(), groups


@every_row
def test_sampled_rollouts_give_the_gradient_of_reinforce(
    sampled: tuple[Any, list[Group]], name: str
) -> None:
    model, given = sampled
    rollouts = [rollout for group in given for rollout in group.rollouts]
    assert all(r.has_actions and not r.token_mismatch and not r.failed for r in rollouts)
    assert len({sum(r.action_mask) for r in rollouts}) > 1
    wanted = expected_gradient(model, given, name)
    settings = {"max_tokens": ONE_ROLLOUT, "critic_weight": 0.0, **PLAIN}
    seen = observe_update(Models(model, model), reverse(given), name, How(), **settings)
    # The sampler computes in float32, with seven digits.
    assert_close(seen.policy, wanted, 1e-4)
    metrics = seen.report.metrics
    assert metrics["logprob_gap_max"] < 1e-4
    assert metrics["ratio_mean"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["clip_fraction"] == 0.0
    assert seen.head_rows == 2 * metrics["tokens_computed"]


# --- samplers that compute differently -----------------------------------------------------------

# Dtype of the learner's weights, autocast, and dtype of the sampler's copy; None samples from the
# learner's weights.
SAMPLERS = {
    "the same weights": ("float32", False, None),
    "a bfloat16 copy": ("float32", False, "bfloat16"),
    "a float16 copy": ("float32", False, "float16"),
    "a float32 copy under autocast": ("float32", True, "float32"),
    "a bfloat16 copy under autocast": ("float32", True, "bfloat16"),
    "bfloat16 weights": ("bfloat16", False, None),
}


@pytest.fixture(scope="module", params=SAMPLERS)
def played(request: Any, make_worded_llama: Any) -> tuple[Any, bool, bool | None, list[Group]]:
    """A policy, whether it computes under autocast, whether its sampler differs, and rollouts.

    A processor without bfloat16 instructions may compute the same bfloat16 numbers with and without
    a cache. Then None takes the place of the second bool.
    """
    dtype, autocast, copied = SAMPLERS[request.param]
    model, tokenizer = make_worded_llama(
        num_hidden_layers=2, initializer_range=0.3, tie_word_embeddings=True
    )
    policy = Policy(model=model.to(getattr(torch, dtype)), tokenizer=tokenizer)
    copy_dtype = None if copied is None else getattr(torch, copied)
    generator = TransformersGenerator(policy, max_context=CONTEXT, dtype=copy_dtype)
    differs = {"the same weights": False, "bfloat16 weights": None}.get(request.param, True)
    return model, autocast, differs, _play(policy, generator)


def _first_update(played: Any, name: Any, **settings: Any) -> dict[str, float]:
    model, autocast, _, given = played
    config = AlgorithmConfig(algorithm=name, **settings)
    optimizer = OptimizerConfig(learning_rate=1e-6, autocast=autocast)
    learner = Learner(copy.deepcopy(model), algorithm=config, optimizer=optimizer, total_updates=1)
    return dict(learner.update(given).metrics)


@every_row
def test_batches_on_policy_start_without_clipping_whatever_the_sampler_computes_in(
    played: Any, name: str
) -> None:
    metrics = _first_update(played, name)
    assert metrics["clip_fraction"] == 0.0
    assert metrics["ratio_mean"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    # Recomputed only where the sampler differs.
    assert played[2] in (None, "sampler_k3" in metrics)


def test_old_logprobs_of_the_sampler_would_differ(played: Any) -> None:
    metrics = _first_update(played, "gspo", recompute_logprobs=False)
    assert played[2] in (None, metrics["logprob_gap_max"] > 1e-4)


def test_old_logprobs_of_older_weights_are_recomputed(played: Any) -> None:
    model, *others = played
    newer = copy.deepcopy(model)
    with torch.no_grad():
        for weight in newer.parameters():
            weight.mul_(1.01)
    metrics = _first_update((newer, *others), "gspo")
    assert metrics["logprob_gap_max"] > 1e-3
    assert metrics["clip_fraction"] == 0.0
