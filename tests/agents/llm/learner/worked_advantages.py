"""Independent advantages and gradients: REINFORCE in plain Python for every algorithm."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from statistics import fmean, pstdev
from typing import Any

import torch
from torch import Tensor

from agents.llm.algorithms.registry import ALGORITHMS
from agents.llm.rollout.types import Group
from tests.agents.llm.learner.observed_updates import gradient_of

# Rewards of a group to advantages of its rollouts.
_Rule = Callable[[Sequence[float]], list[float]]


def _standardized(values: Sequence[float]) -> list[float]:
    return [(value - fmean(values)) / (pstdev(values) + 1e-6) for value in values]


def _centred(values: Sequence[float]) -> list[float]:
    return [value - fmean(values) for value in values]


def _less_the_others(values: Sequence[float]) -> list[float]:
    return [v - (sum(values) - v) / (len(values) - 1) for v in values]


def _of_rollouts(rule: _Rule) -> Callable[[Sequence[Group]], list[float]]:
    def advantages(groups: Sequence[Group]) -> list[float]:
        return [
            value
            for group in groups
            for rollout, value in zip(
                group.rollouts, rule([r.reward for r in group.rollouts]), strict=True
            )
            for _ in range(sum(rollout.action_mask))
        ]

    return advantages


def _of_turns(groups: Sequence[Group]) -> list[float]:
    """Without a discount, the return of every turn is the reward of its rollout."""
    advantages: list[float] = []
    for group in groups:
        turns = [
            (rollout.reward, len(segment.token_ids))
            for rollout in group.rollouts
            for segment in rollout.segments
            if segment.logprobs is not None
        ]
        values = _standardized([reward for reward, _ in turns])
        advantages += [v for v, (_, count) in zip(values, turns, strict=True) for _ in range(count)]
    return advantages


def _whitened(rule: _Rule) -> Callable[[Sequence[Group]], list[float]]:
    def advantages(groups: Sequence[Group]) -> list[float]:
        values = _of_rollouts(rule)(groups)
        return [(value - fmean(values)) / (pstdev(values) + 1e-8) for value in values]

    return advantages


# Advantage of each action token, without discount and KL, with critic values of 0.
WORKED_OUT: dict[str, Callable[[Sequence[Group]], list[float]]] = {
    "grpo": _of_rollouts(_standardized),
    "dapo": _of_rollouts(_standardized),
    "gspo": _of_rollouts(_standardized),
    "cispo": _of_rollouts(_standardized),
    "dr_grpo": _of_rollouts(_centred),
    "rloo": _of_rollouts(_less_the_others),
    "reinforce": _of_rollouts(list),
    "reinforce_pp": _whitened(list),
    "reinforce_pp_baseline": _whitened(_centred),
    "ppo": _whitened(list),
    "grpo_turn": _of_turns,
}
# Algorithms that do not compare rollouts of a group.
WITHOUT_GROUPS = {"reinforce", "reinforce_pp", "ppo"}


def _weights(name: str, groups: Sequence[Group]) -> list[float]:
    """Weight of each action token in the loss, with the default constant divisor."""
    counts = [sum(rollout.action_mask) for group in groups for rollout in group.rollouts]
    each = {
        "token": [1 / sum(counts) for _ in counts],
        "sequence": [1 / (len(counts) * count) for count in counts],
        "constant": [1 / (len(counts) * 1024) for _ in counts],
    }[ALGORITHMS[name].loss_aggregation]
    return [weight for weight, count in zip(each, counts, strict=True) for _ in range(count)]


def expected_gradient(
    model: Any, groups: Sequence[Group], name: str, counts_A: Sequence[float] | None = None
) -> Tensor:
    """[P] gradient of minus the mean of advantages times log-probabilities, in float64.

    Args:
        model: a causal language model, called on one rollout at a time.
        groups: groups of rollouts.
        name: the algorithm.
        counts_A: factor of each action token; None for 1.
    """
    model = copy.deepcopy(model).double()
    advantages, weights = WORKED_OUT[name](groups), _weights(name, groups)
    factors = zip(weights, advantages, counts_A or [1.0] * len(weights), strict=True)
    given = iter([weight * advantage * count for weight, advantage, count in factors])
    for rollout in (rollout for group in groups for rollout in group.rollouts):
        ids = torch.tensor(rollout.token_ids)
        log_p_TV = model(ids[None, :-1]).logits[0].log_softmax(-1)
        log_p_T = log_p_TV.gather(1, ids[1:, None])[:, 0]
        chosen_A = log_p_T[torch.tensor(rollout.action_mask[1:])]
        wanted_A = torch.tensor([next(given) for _ in chosen_A]).to(chosen_A)
        (-(wanted_A * chosen_A).sum()).backward()
    assert next(given, None) is None
    return gradient_of(model)
