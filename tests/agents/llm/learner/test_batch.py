import pytest
import torch

from agents.llm.distributed.context import DistributedContext
from agents.llm.learner.batch import Batch, split_minibatches
from agents.llm.rollout.types import Group, Rollout


def _batch(*rollouts: Rollout) -> Batch:
    return Batch.from_groups([Group(rollouts=rollouts)])


def test_sampled_ids_are_the_trained_ids(make_rollout):
    rollouts = [make_rollout(3, 2, 4, 1, seed=i) for i in range(3)]
    (micro,) = _batch(*rollouts).micro_batches(1000)
    sampled = [
        token
        for rollout in rollouts
        for segment in rollout.segments
        if segment.logprobs is not None
        for token in segment.token_ids
    ]
    assert micro.target_ids_A.tolist() == sampled
    assert micro.tokens_A.tolist() == list(range(9))


def test_predictors_are_the_positions_just_before_action_tokens(make_rollout):
    # Prompt at 0-2, policy at 3-4, page at 5-8, policy at 9.
    (micro,) = _batch(make_rollout(3, 2, 4, 1)).micro_batches(1000)
    assert micro.predictors_A.tolist() == [2, 3, 8]
    assert micro.token_ids_BT.shape == (1, 9)


def test_what_follows_the_last_action_token_is_not_read(make_rollout):
    with_page, without = make_rollout(3, 2, 50), make_rollout(3, 2)
    for rollout in (with_page, without):
        (micro,) = _batch(rollout).micro_batches(1000)
        assert micro.token_ids_BT.tolist() == [list(rollout.token_ids[:4])]


def test_micro_batches_keep_the_token_budget_and_lose_nothing(make_rollout):
    rollouts = [make_rollout(2 + i % 5, 3, 4, 1 + i % 7, seed=i) for i in range(23)]
    batch = _batch(*rollouts)
    micros = batch.micro_batches(40)
    assert all(micro.token_ids_BT.numel() <= 40 for micro in micros)
    assert sorted(torch.cat([micro.tokens_A for micro in micros]).tolist()) == list(
        range(batch.num_tokens)
    )
    targets_A = torch.cat(
        [ids[where] for ids, where in zip(batch.token_ids, batch.positions, strict=True)]
    )
    for micro in micros:
        assert torch.equal(micro.target_ids_A, targets_A[micro.tokens_A])


@pytest.mark.parametrize("size", [1, 2, 4, 30])
def test_ranks_are_dealt_every_token_once_in_equally_many_passes(make_rollout, size):
    rollouts = [make_rollout(2 + i % 5, 3, 4, 1 + i % 7, seed=i) for i in range(23)]
    batch = _batch(*rollouts)
    shares = [
        batch.micro_batches(40, distributed=DistributedContext(rank=r, world_size=size))
        for r in range(size)
    ]
    assert len({len(share) for share in shares}) == 1
    tokens = torch.cat([micro.tokens_A for share in shares for micro in share])
    assert tokens.sort().values.tolist() == list(range(batch.num_tokens))
    rows = [{row for m in share for row in batch.rows_A[m.tokens_A].tolist()} for share in shares]
    read = [sum(len(batch.token_ids[row]) for row in mine) for mine in rows]
    assert max(read) - min(read) <= max(map(len, batch.token_ids))
    assert all(micro.token_ids_BT.numel() for share in shares for micro in share)


def test_a_rollout_beyond_the_budget_goes_alone(make_rollout):
    batch = _batch(make_rollout(50, 2), make_rollout(3, 2), make_rollout(3, 2))
    assert [len(micro.token_ids_BT) for micro in batch.micro_batches(10)] == [1, 2]


def test_void_rollouts_never_enter(make_rollout):
    group = Group(rollouts=(make_rollout(2, 3, reward=0.5), make_rollout(2, 3, failure="timeout")))
    batch = Batch.from_groups([group])
    assert len(batch) == 1
    assert batch.rewards_B.tolist() == [0.5]


def test_a_void_rollout_may_lack_policy_tokens(make_rollout):
    group = Group(rollouts=(make_rollout(2, failure="timeout"), make_rollout(2, 3)))
    assert len(Batch.from_groups([group])) == 1


def test_a_rollout_whose_prompt_filled_the_context_does_not_enter(make_rollout):
    page = make_rollout(30, 0, 4, reward=1.0)  # a turn of no token is none
    batch = Batch.from_groups([Group(rollouts=(make_rollout(30), page, make_rollout(2, 3)))])
    assert len(batch) == 1 and batch.rewards_B.tolist() == [0.0]


def test_a_rollout_needs_a_prompt(make_rollout):
    with pytest.raises(ValueError, match="PROMPT segment"):
        _batch(make_rollout(0, 3))


def test_sampled_logprobs_stay_with_their_tokens(make_rollout):
    batch = _batch(
        make_rollout(2, 2, 3, 1, logprobs=(-1.0, -2.0, -3.0)),
        make_rollout(9, 1, logprobs=(-4.0,)),
    )
    assert batch.sampled_logprobs_A.tolist() == [-1.0, -2.0, -3.0, -4.0]
    (first, second) = batch.micro_batches(10)
    assert batch.sampled_logprobs_A[first.tokens_A].tolist() == [-4.0]
    assert batch.sampled_logprobs_A[second.tokens_A].tolist() == [-1.0, -2.0, -3.0]


def test_every_update_and_epoch_has_its_own_order_of_rollouts():
    def orders(seed):
        updates = [split_minibatches(40, 1, 3, seed=seed, update=n) for n in range(5)]
        return [tuple(step) for steps in updates for step in steps]

    known = {order for seed in range(4) for order in orders(seed)}
    assert len(known) == 4 * 5 * 3
    assert all(sorted(order) == list(range(40)) for order in known)
    assert orders(2) == orders(2)
