"""The learner's laws: what may be trained, and what changes nothing.

They are put to every row of the table and to every way an update is computed, so that a new row is
under all of them at once.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from unittest import mock

import pytest
import torch

from agents.llm.algorithms.registry import ALGORITHMS
from agents.llm.distributed.context import DistributedContext
from agents.llm.learner import batch as batches
from agents.llm.learner.batch import Batch
from agents.llm.rollout.types import Group
from tests.agents.llm.distributed.rank_processes import on_ranks
from tests.agents.llm.learner.telling_rollouts import (
    TRAINED_IDS,
    disturbed,
    ragged_groups,
    reverse,
    sampled_by,
)
from tests.agents.llm.learner.watched_updates import (
    HOWS,
    MANY_TOKENS,
    ONE_ROLLOUT,
    How,
    Models,
    Watched,
    assert_close,
    make_models,
    watch_update,
)

NAMES = sorted(ALGORITHMS)
# Two groups of four, of 6 to 9 and of 7 to 10 action tokens; the longest rollout reads so many.
NUM_ACTIONS, LONGEST = 30 + 34, 21
# Nats between sampler and learner: within every bound but GSPO's, beyond those of most, of all.
OFF = (0.1, 0.1, -0.6, 0.6, -2.0)

every_row = pytest.mark.parametrize("name", NAMES)
every_way = pytest.mark.parametrize("way", HOWS)


@pytest.fixture(scope="module")
def models(make_llama: Any) -> dict[str, Models]:
    return {way: make_models(make_llama, how) for way, how in HOWS.items()}


@pytest.fixture(scope="module")
def groups(models: dict[str, Models]) -> dict[str, list[Group]]:
    """Rollouts of a sampler that is not quite the policy."""
    return {way: sampled_by(models[way].policy, ragged_groups(), OFF) for way in HOWS}


@pytest.fixture(scope="module")
def undisturbed(models: Any, groups: Any) -> Callable[..., Watched]:
    """The update that others are held against: all rollouts in one pass."""

    @cache
    def watch(name: str, way: str, loss_aggregation: str) -> Watched:
        seen = watch_update(
            models[way], groups[way], name, HOWS[way], loss_aggregation=loss_aggregation
        )
        assert not seen.report.skipped, seen.report.reason
        return seen

    return lambda name, way, loss_aggregation=None: watch(
        name, way, loss_aggregation or ALGORITHMS[name].loss_aggregation
    )


# --- what is trained -----------------------------------------------------------------------------


@every_row
@every_way
def test_only_positions_before_an_action_token_are_trained_and_reach_the_head(
    undisturbed: Any, name: str, way: str
) -> None:
    seen = undisturbed(name, way)
    assert all(moved == (token in TRAINED_IDS) for token, moved in seen.read)
    bodies = 2 if ALGORITHMS[name].needs_critic else 1
    assert sum(moved for _, moved in seen.read) == NUM_ACTIONS * bodies
    # The policy's logits, again in its backward pass, and the reference's.
    assert seen.head_rows == 3 * NUM_ACTIONS


# --- what changes nothing ------------------------------------------------------------------------

# One way with every mean, the others with the row's own.
_MEANS = [("padded", mean) for mean in ("token", "sequence", "constant")]
_MEANS += [(way, None) for way in HOWS if way != "padded"]


@every_row
@pytest.mark.parametrize(("way", "loss_aggregation"), _MEANS)
def test_micro_batching_padding_and_order_change_no_gradient(
    models: Any, groups: Any, undisturbed: Any, name: str, way: str, loss_aggregation: str | None
) -> None:
    # A law of one optimizer step: of several, the order decides which rollouts are in which.
    how, wanted = HOWS[way], undisturbed(name, way, loss_aggregation).gradient
    batch = Batch.from_groups(groups[way])
    assert max(len(ids) - 1 for ids in batch.token_ids) == LONGEST
    parts = {ONE_ROLLOUT: 8, 4 * LONGEST: 2, MANY_TOKENS: 1}
    for max_tokens, num_passes in parts.items():
        passes = batch.micro_batches(max_tokens)
        assert len(passes) == num_passes

    def gradient(given: Sequence[Group], max_tokens: int) -> torch.Tensor:
        cut = {"max_tokens": max_tokens, "loss_aggregation": loss_aggregation}
        seen = watch_update(models[way], given, name, how, **cut)
        assert not seen.report.skipped
        return seen.gradient

    assert_close(gradient(groups[way], ONE_ROLLOUT), wanted, how.close)
    assert_close(gradient(reverse(groups[way]), 4 * LONGEST), wanted, how.close)
    if how == How():
        assert_close(gradient(groups[way], 4 * LONGEST), wanted, how.close)


@every_row
@every_way
def test_what_stands_in_the_padding_changes_no_bit(
    models: Any, groups: Any, undisturbed: Any, monkeypatch: Any, name: str, way: str
) -> None:
    padding = 20
    assert padding in TRAINED_IDS  # elsewhere
    wanted = undisturbed(name, way)
    monkeypatch.setattr(batches, "_PADDING_ID", padding)
    seen = watch_update(models[way], groups[way], name, HOWS[way])
    assert torch.equal(seen.gradient, wanted.gradient)
    assert seen.report.metrics == wanted.report.metrics
    filled = sum(token == padding for token, _ in seen.read)
    assert filled > sum(token == padding for token, _ in wanted.read)


@every_row
@every_way
def test_void_and_unwritten_rollouts_and_last_pages_change_nothing_but_their_count(
    models: Any, groups: Any, undisturbed: Any, name: str, way: str
) -> None:
    seen = watch_update(models[way], disturbed(groups[way]), name, HOWS[way])
    wanted = undisturbed(name, way)
    assert torch.equal(seen.gradient, wanted.gradient)
    assert torch.equal(seen.weights, wanted.weights)
    more = {"failed_rollouts": 2.0, "actionless_rollouts": 2.0}
    assert seen.report.metrics == {**wanted.report.metrics, **more}


# --- on several ranks ----------------------------------------------------------------------------


def _watch_all(
    distributed: DistributedContext, models: Any, groups: Any
) -> dict[tuple[str, str], Watched]:
    """Every update with everything in it that may change nothing."""
    # A rank with less to read than the others reads an id that no rollout has.
    with mock.patch.object(batches, "_PADDING_ID", 39):
        return {
            (name, way): watch_update(
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
def test_two_ranks_keep_all_these_laws_at_once(
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
