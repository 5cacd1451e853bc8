"""Laws of the learner: which positions are trained, and what leaves the gradient unchanged.

Every law is tested for every algorithm and for every way to compute an update.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from unittest import mock

import pytest
import torch

from agents.llm.algorithms.registry import ALGORITHMS, AlgorithmConfig
from agents.llm.distributed.context import DistributedContext
from agents.llm.learner import batch as batches
from agents.llm.learner.batch import Batch
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.rollout.types import Group
from tests.agents.llm.distributed.rank_processes import on_ranks
from tests.agents.llm.learner import hand_worked
from tests.agents.llm.learner.labelled_rollouts import (
    TRAINED_IDS,
    disturbed,
    ragged_groups,
    reverse,
    sampled_by,
)
from tests.agents.llm.learner.observed_updates import (
    HOWS,
    MANY_TOKENS,
    ONE_ROLLOUT,
    How,
    Models,
    Observed,
    assert_close,
    make_models,
    observe_update,
)

NAMES = sorted(ALGORITHMS)
# Two groups of four, of 6 to 9 and of 7 to 10 action tokens; positions of the longest rollout.
NUM_ACTIONS, LONGEST = 30 + 34, 21
# Log-ratios of learner and sampler, nats: within most clip ranges, beyond some, beyond all.
OFF = (0.1, 0.1, -0.6, 0.6, -2.0)

every_row = pytest.mark.parametrize("name", NAMES)
every_way = pytest.mark.parametrize("way", HOWS)


@pytest.fixture(scope="module")
def models(make_llama: Any) -> dict[str, Models]:
    return {way: make_models(make_llama, how) for way, how in HOWS.items()}


@pytest.fixture(scope="module")
def groups(models: dict[str, Models]) -> dict[str, list[Group]]:
    """Rollouts of a sampler that differs from the policy."""
    return {way: sampled_by(models[way].policy, ragged_groups(), OFF) for way in HOWS}


@pytest.fixture(scope="module")
def undisturbed(models: Any, groups: Any) -> Callable[..., Observed]:
    """The update to compare with: all rollouts in one pass."""

    @cache
    def watch(name: str, way: str, loss_aggregation: str) -> Observed:
        seen = observe_update(
            models[way], groups[way], name, HOWS[way], loss_aggregation=loss_aggregation
        )
        assert not seen.report.skipped, seen.report.reason
        return seen

    return lambda name, way, loss_aggregation=None: watch(
        name, way, loss_aggregation or ALGORITHMS[name].loss_aggregation
    )


# --- trained positions ---------------------------------------------------------------------------


@every_row
@every_way
def test_only_positions_before_an_action_token_are_trained_and_reach_the_head(
    undisturbed: Any, name: str, way: str
) -> None:
    seen = undisturbed(name, way)
    assert all(moved == (token in TRAINED_IDS) for token, moved in seen.read)
    bodies = 2 if ALGORITHMS[name].needs_critic else 1
    assert sum(moved for _, moved in seen.read) == NUM_ACTIONS * bodies
    # The policy's logits, their recomputation in the backward pass, and the reference's.
    assert seen.head_rows == 3 * NUM_ACTIONS


# --- invariances ---------------------------------------------------------------------------------

# One way with every loss aggregation, the others with that of the algorithm.
_MEANS = [("padded", mean) for mean in ("token", "sequence", "constant")]
_MEANS += [(way, None) for way in HOWS if way != "padded"]


@every_row
@pytest.mark.parametrize(("way", "loss_aggregation"), _MEANS)
def test_micro_batching_padding_and_order_change_no_gradient(
    models: Any, groups: Any, undisturbed: Any, name: str, way: str, loss_aggregation: str | None
) -> None:
    # Holds for one optimizer step: with several, the order decides which rollouts share a step.
    how, wanted = HOWS[way], undisturbed(name, way, loss_aggregation).gradient
    batch = Batch.from_groups(groups[way])
    assert max(len(ids) - 1 for ids in batch.token_ids) == LONGEST
    parts = {ONE_ROLLOUT: 8, 4 * LONGEST: 2, MANY_TOKENS: 1}
    for max_tokens, num_passes in parts.items():
        passes = batch.micro_batches(max_tokens)
        assert len(passes) == num_passes

    def gradient(given: Sequence[Group], max_tokens: int) -> torch.Tensor:
        cut = {"max_tokens": max_tokens, "loss_aggregation": loss_aggregation}
        seen = observe_update(models[way], given, name, how, **cut)
        assert not seen.report.skipped
        return seen.gradient

    assert_close(gradient(groups[way], ONE_ROLLOUT), wanted, how.close)
    assert_close(gradient(reverse(groups[way]), 4 * LONGEST), wanted, how.close)
    if how == How():
        assert_close(gradient(groups[way], 4 * LONGEST), wanted, how.close)


@every_row
@every_way
def test_the_padding_id_changes_no_bit(
    models: Any, groups: Any, undisturbed: Any, monkeypatch: Any, name: str, way: str
) -> None:
    padding = 20
    assert padding in TRAINED_IDS  # elsewhere
    wanted = undisturbed(name, way)
    monkeypatch.setattr(batches, "_PADDING_ID", padding)
    seen = observe_update(models[way], groups[way], name, HOWS[way])
    assert torch.equal(seen.gradient, wanted.gradient)
    assert seen.report.metrics == wanted.report.metrics
    filled = sum(token == padding for token, _ in seen.read)
    assert filled > sum(token == padding for token, _ in wanted.read)


@every_row
@every_way
def test_failed_and_actionless_rollouts_and_final_pages_change_only_their_counts(
    models: Any, groups: Any, undisturbed: Any, name: str, way: str
) -> None:
    seen = observe_update(models[way], disturbed(groups[way]), name, HOWS[way])
    wanted = undisturbed(name, way)
    assert torch.equal(seen.gradient, wanted.gradient)
    assert torch.equal(seen.weights, wanted.weights)
    more = {"failed_rollouts": 2.0, "actionless_rollouts": 2.0}
    assert seen.report.metrics == {**wanted.report.metrics, **more}


# --- gradients worked out by hand ----------------------------------------------------------------


def _gradient(groups: list[Group], name: Any, max_tokens: int = MANY_TOKENS) -> torch.Tensor:
    policy = hand_worked.make_policy()
    learner = Learner(
        policy,
        algorithm=AlgorithmConfig(algorithm=name, recompute_logprobs=False),
        optimizer=OptimizerConfig(max_grad_norm=1e30, tokens_per_micro_batch=max_tokens),
        total_updates=1,
    )
    assert not learner.update(groups).skipped
    return policy.gradient[0]


def test_every_algorithm_is_worked_out_by_hand() -> None:
    assert sorted(hand_worked.ADVANTAGES) == NAMES


@every_row
@pytest.mark.parametrize("max_tokens", [ONE_ROLLOUT, MANY_TOKENS])
@pytest.mark.parametrize("change", [list, reverse, disturbed])
def test_the_gradient_is_the_one_worked_out_by_hand(
    name: str, max_tokens: int, change: Any
) -> None:
    gradient = _gradient(change(hand_worked.make_groups()), name, max_tokens)
    hand_worked.assert_by_hand(gradient, hand_worked.gradient_by_hand(name))


@pytest.mark.parametrize("max_tokens", [ONE_ROLLOUT, MANY_TOKENS])
@pytest.mark.parametrize("change", [list, reverse, disturbed])
def test_ratios_and_clipping_are_those_worked_out_by_hand(max_tokens: int, change: Any) -> None:
    gradient = _gradient(change(hand_worked.make_groups(hand_worked.RATIOS)), "grpo", max_tokens)
    hand_worked.assert_by_hand(gradient, hand_worked.GRADIENT_WITH_RATIOS)


# --- on several ranks ----------------------------------------------------------------------------


def _watch_all(
    distributed: DistributedContext, models: Any, groups: Any
) -> dict[tuple[str, str], Observed]:
    """All updates, with every change that must not matter."""
    # Passes without actions read this id, which occurs in no rollout.
    with mock.patch.object(batches, "_PADDING_ID", 39):
        return {
            (name, way): observe_update(
                *(models[way], reverse(disturbed(groups[way])), name, how),
                **{"distributed": distributed, "max_tokens": 40},
            )
            for name in NAMES
            for way, how in HOWS.items()
        }


@pytest.fixture(scope="module")
def on_two_ranks(models: Any, groups: Any, tmp_path_factory: Any) -> list[Any]:
    return on_ranks(tmp_path_factory.mktemp("laws"), 2, _watch_all, models, groups)


@every_row
@every_way
def test_the_laws_hold_on_two_ranks(
    undisturbed: Any, on_two_ranks: list[Any], name: str, way: str
) -> None:
    wanted, seen = undisturbed(name, way), [answers[name, way] for answers in on_two_ranks]
    for one in seen:
        assert not one.report.skipped
        assert_close(one.gradient, wanted.gradient, HOWS[way].close)
        assert all(moved == (token in TRAINED_IDS) for token, moved in one.read)
        assert any(moved for _, moved in one.read)
    assert sum(one.head_rows for one in seen) == 3 * NUM_ACTIONS
    bodies = 2 if ALGORITHMS[name].needs_critic else 1
    assert sum(moved for one in seen for _, moved in one.read) == NUM_ACTIONS * bodies
