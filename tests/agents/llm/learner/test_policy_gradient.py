"""The learner's gradient is REINFORCE's, whoever sampled, with every row's own advantages.

What a new row's advantages are is to be worked out in `worked_advantages.py`.
"""

import copy
import math
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from gymnasium.vector import AutoresetMode

from agents.llm.algorithms.registry import ALGORITHMS, AlgorithmName
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.generators.vllm.server import VLLMServerGenerator
from agents.llm.generators.vllm.weight_sync import FolderSync
from agents.llm.policy.policy import Policy
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.rollout.types import Group, Rollout
from tests.agents.llm.generators.generator_laws import PAGE, QUESTIONS
from tests.agents.llm.generators.vllm.vllm_stub import VLLMStub
from tests.agents.llm.learner.telling_rollouts import ragged_groups, reverse, sampled_by
from tests.agents.llm.learner.watched_updates import (
    HOWS,
    ONE_ROLLOUT,
    PLAIN,
    How,
    Models,
    assert_close,
    make_models,
    put_adapter,
    watch_update,
)
from tests.agents.llm.learner.worked_advantages import KNOW_NO_GROUPS, WORKED_OUT, expected_gradient
from zs_env.engines import ScriptedEngine
from zs_env.vector_env import ZeroSearchVectorEnv

NAMES = sorted(get_args(AlgorithmName))

every_row = pytest.mark.parametrize("name", NAMES)
every_way = pytest.mark.parametrize("way", HOWS)


@pytest.fixture(scope="module")
def models(make_llama: Any) -> dict[str, Models]:
    return {way: make_models(make_llama, how) for way, how in HOWS.items()}


# --- on policy -----------------------------------------------------------------------------------


def test_every_row_is_worked_out() -> None:
    assert sorted(WORKED_OUT) == NAMES


@every_row
@every_way
def test_the_first_update_on_policy_has_the_gradient_of_reinforce(
    models: Any, name: str, way: str
) -> None:
    # No row is left out: where the ratio is 1 nothing is clipped, CISPO's weight is 1, and GSPO's
    # ratio of the whole rollout is 1 as well. In bfloat16 the learner is not the float32 sampler,
    # so there the ratio is 1 only against its own old log-probabilities.
    how, policy = HOWS[way], models[way].policy
    given = sampled_by(policy, ragged_groups())
    settings = {**PLAIN, "recompute_logprobs": how.autocast, "critic_weight": 0.0}
    seen = watch_update(models[way], given, name, how, **settings)
    assert_close(seen.policy, expected_gradient(policy, given, name), how.close)
    assert seen.report.metrics["ratio_mean"] == pytest.approx(1.0, abs=how.close)
    assert seen.report.metrics["clip_fraction"] == 0.0


@every_row
def test_beside_the_ratio_of_one_tokens_count_by_their_ratio_unless_bounds_are_narrower(
    models: Any, name: str
) -> None:
    # The sampler is off by 1e-3 nats a token, up in every second rollout and down in the others,
    # as bfloat16 may be. GSPO's bounds are narrower: it lets go of rollouts that have gone their
    # advantage's way already. No other row does.
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
    seen = watch_update(models["padded"], given, name, How(), critic_weight=0.0, **PLAIN)
    assert_close(seen.policy, expected_gradient(policy, given, name, counts), How().close)


# --- equal rewards -------------------------------------------------------------------------------


@every_row
@every_way
def test_rewards_that_are_equal_in_every_group_move_no_row_that_compares_groups(
    models: Any, name: str, way: str
) -> None:
    how, policy = HOWS[way], models[way].policy
    given = sampled_by(policy, ragged_groups(((1.0,) * 4, (0.25,) * 4)))
    seen = watch_update(models[way], given, name, how, critic_weight=0.0, **PLAIN)
    if name in KNOW_NO_GROUPS:
        # To them one question was easier than the other, and that is an advantage.
        assert_close(seen.policy, expected_gradient(policy, given, name), how.close)
    else:
        assert seen.report.skipped and seen.report.reason == "every advantage is zero"
        assert torch.equal(seen.weights, _trained_weights(policy))
        assert not seen.policy.any() and not seen.head_rows


@every_row
def test_rewards_that_are_all_equal_move_reinforce_alone(models: Any, name: str) -> None:
    policy = models["padded"].policy
    given = sampled_by(policy, ragged_groups(((0.5,) * 4, (0.5,) * 4)))
    seen = watch_update(models["padded"], given, name, How(), critic_weight=0.0, **PLAIN)
    if name == "reinforce":
        assert_close(seen.policy, expected_gradient(policy, given, name), How().close)
    else:
        assert not seen.policy.any()
        # A critic still learns what is to be expected.
        assert bool(seen.critic.any()) == ALGORITHMS[name].needs_critic


@every_row
def test_a_discount_moves_rows_that_look_at_single_turns_or_tokens(models: Any, name: str) -> None:
    # Late turns are worth more than early ones of the same rollout, whatever the rollouts' rewards;
    # rows with one advantage a rollout do not discount at all.
    given = sampled_by(models["padded"].policy, ragged_groups(((0.5,) * 4, (0.5,) * 4)))
    seen = watch_update(models["padded"], given, name, How(), critic_weight=0.0, gamma=0.9, **PLAIN)
    assert bool(seen.policy.any()) == (name in {*KNOW_NO_GROUPS, "grpo_turn"})


def _trained_weights(model: Any) -> torch.Tensor:
    return torch.cat([w.detach().flatten() for w in model.parameters() if w.requires_grad])


# --- whoever sampled them ------------------------------------------------------------------------

# Two turns of 6 tokens, and of a third turn what there is room for.
CONTEXT = 110


def _play(policy: Policy, generator: Any) -> list[Group]:
    """Two groups of two, with rewards given by hand: a random policy earns none."""
    environment = ZeroSearchVectorEnv(
        4,
        QUESTIONS,
        ScriptedEngine({}, default=[PAGE]),
        autoreset_mode=AutoresetMode.DISABLED,
        max_turns=3,
        prompt="bare",
    )
    groups = collect_rollouts(
        environment,
        policy,
        generator,
        question_indices=[0, 1],
        seeds=[1, 2],
        group_size=2,
        sampling=Sampling(max_new_tokens=6),
    )

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
    """A policy in float64, and what it sampled in float32, through HTTP where there is a server."""

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
def test_sampled_rollouts_give_the_gradient_of_reinforce_however_they_are_cut(
    sampled: tuple[Any, list[Group]], name: str
) -> None:
    model, given = sampled
    rollouts = [rollout for group in given for rollout in group.rollouts]
    assert all(r.has_actions and not r.token_mismatch and not r.failed for r in rollouts)
    assert len({sum(r.action_mask) for r in rollouts}) > 1
    wanted = expected_gradient(model, given, name)
    settings = {"max_tokens": ONE_ROLLOUT, "critic_weight": 0.0, **PLAIN}
    seen = watch_update(Models(model, model), reverse(given), name, How(), **settings)
    # The sampler's numbers have seven digits, and so have the model's norms.
    assert_close(seen.policy, wanted, 1e-4)
    metrics = seen.report.metrics
    assert metrics["logprob_gap_max"] < 1e-4
    assert metrics["ratio_mean"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["clip_fraction"] == 0.0
    assert seen.head_rows == 2 * metrics["tokens_computed"]
