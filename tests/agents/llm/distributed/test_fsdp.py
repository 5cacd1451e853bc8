"""Losses, gradients and states on several ranks equal those of a single process."""

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.tensor import DTensor

from agents.llm.algorithms.registry import ALGORITHMS, AlgorithmConfig
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext, RankLostError
from agents.llm.distributed.fsdp import full_tensor, gather_weights
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.learner.models import Critic
from agents.llm.policy.lora import add_adapter
from agents.llm.rollout.types import Group
from tests.agents.llm.distributed.rank_processes import on_ranks
from tests.agents.llm.learner import hand_worked

SIZES = (2, 4)
# Tolerance for another order of summation, relative to the largest entry.
CLOSE = {"float64": 1e-6, "float32": 1e-4, "bfloat16": 0.1}
MANY_TOKENS, ONE_ROLLOUT = 4096, 1

_SETTINGS = {"kl_coef": 0.05, "entropy_coef": 0.01, "recompute_logprobs": False}
# Each case: algorithm, dtype, groups, positions of a forward pass, settings.
_PLAIN = [(name, "float64", "two groups", MANY_TOKENS, {}) for name in sorted(ALGORITHMS)]
_FLOAT32 = [
    (name, "float32", "two groups", 40, {}) for name in ("grpo", "ppo", "reinforce_pp", "gspo")
]
_SHAPES = [
    # Fewer rollouts than ranks, or not a multiple of them.
    ("grpo", "float64", "three rollouts", ONE_ROLLOUT, {}),
    ("ppo", "float64", "three rollouts", MANY_TOKENS, {}),
    # The head of the critic has another dtype than its body.
    ("ppo", "bfloat16", "two groups", 40, {}),
    # Without KL and entropy bonus most rows are skipped, and some ranks compute none.
    ("grpo", "float64", "few useful", MANY_TOKENS, {"kl_coef": 0.0, "entropy_coef": 0.0}),
    ("gspo", "float64", "few useful", ONE_ROLLOUT, {"kl_coef": 0.0, "entropy_coef": 0.0}),
    ("grpo", "float64", "two groups", ONE_ROLLOUT, {"loss_aggregation": "sequence"}),
    ("dr_grpo", "float64", "two groups", ONE_ROLLOUT, {}),
    ("grpo", "float64", "two groups", 40, {"importance_sampling": "sequence_truncate"}),
    ("gspo", "float64", "three rollouts", ONE_ROLLOUT, {"recompute_logprobs": "auto"}),
]
CASES = _PLAIN + _FLOAT32 + _SHAPES


def _make_groups(make_rollout: Any) -> dict[str, list[Group]]:
    def group(number: int, rewards: Sequence[float]) -> Group:
        return Group(
            rollouts=tuple(
                make_rollout(
                    *(3 + number, 2 + i, 5 * (i % 2) + 1, 1 + number, 2, 3),
                    reward=reward,
                    seed=10 * number + i,
                )
                for i, reward in enumerate(rewards)
            )
        )

    return {
        "two groups": [group(0, (1.0, 0.0, 0.25, 0.0)), group(1, (1.0, 0.5, 0.0, 0.0))],
        "three rollouts": [group(0, (1.0, 0.0, 0.25))],
        "few useful": [group(0, (1.0, 1.0, 1.0)), group(1, (1.0, 0.0)), group(2, (0.0, 0.0, 0.0))],
    }


def _make_learner(
    distributed: DistributedContext,
    model: Any,
    name: Any,
    max_tokens: int,
    *,
    reference: Any = None,
    **settings: Any,
) -> Learner:
    config = AlgorithmConfig(algorithm=name, **{**_SETTINGS, **settings})
    critic = None
    if config.row.needs_critic:
        critic = Critic.from_policy(model)
        nn.init.constant_(critic.head.weight, 0.3)
    return Learner(
        model,
        algorithm=config,
        optimizer=OptimizerConfig(
            learning_rate=1e-3, max_grad_norm=1e30, tokens_per_micro_batch=max_tokens
        ),
        reference_model=reference or model,
        critic=critic,
        total_updates=10,
        distributed=distributed,
    )


def _modules(learner: Learner) -> list[nn.Module]:
    return [learner.policy] if learner.critic is None else [learner.policy, learner.critic]


def _trained(learner: Learner) -> list[nn.Parameter]:
    weights = [weight for module in _modules(learner) for weight in module.parameters()]
    return [weight for weight in weights if weight.requires_grad]


def _flat_weights(learner: Learner) -> torch.Tensor:
    return torch.cat(
        [full_tensor(weight.detach()).flatten().double() for weight in _trained(learner)]
    )


def _flat_gradient(learner: Learner) -> torch.Tensor:
    gradients = [weight.grad for weight in _trained(learner)]
    assert all(gradient is not None for gradient in gradients)
    return torch.cat([full_tensor(g).flatten().double() for g in gradients if g is not None])


def _assert_close(ours: torch.Tensor, theirs: torch.Tensor, close: float = 1e-6) -> None:
    assert theirs.abs().max() > 0
    assert (ours - theirs).abs().max() <= close * theirs.abs().max()


# --- losses and gradients ------------------------------------------------------------------------


def _learn_cases(
    distributed: DistributedContext, model: Any, other: Any, groups: Mapping[str, list[Group]]
) -> list[dict[str, Any]]:
    answers = []
    for name, dtype, which, max_tokens, settings in CASES:
        policy, reference = (
            copy.deepcopy(one).to(getattr(torch, dtype)).requires_grad_(trained)
            for one, trained in ((model, True), (other, False))
        )
        learner = _make_learner(
            distributed, policy, name, max_tokens, reference=reference, **settings
        )
        spread = [isinstance(weight, DTensor) for weight in _trained(learner)]
        report = learner.update(groups[which])
        answers.append(
            {
                "gradient": _flat_gradient(learner),
                "metrics": report.metrics,
                "skipped": report.skipped,
                "spread": all(spread) if distributed.world_size > 1 else any(spread),
            }
        )
    return answers


@pytest.fixture(scope="module")
def alone(given: Any) -> list[dict[str, Any]]:
    return _learn_cases(SINGLE_PROCESS, *given)


@pytest.fixture(scope="module")
def given(make_llama: Any, make_rollout: Any) -> tuple[Any, Any, dict[str, list[Group]]]:
    """A policy, a reference, and groups by name."""
    return make_llama(0), make_llama(1), _make_groups(make_rollout)


@pytest.fixture(scope="module", params=SIZES)
def spread(request: Any, given: Any, tmp_path_factory: Any) -> list[list[dict[str, Any]]]:
    return on_ranks(tmp_path_factory.mktemp("cases"), request.param, _learn_cases, *given)


@pytest.mark.parametrize(
    "case", range(len(CASES)), ids=lambda case: "-".join(map(str, CASES[case][:4]))
)
def test_losses_and_gradients_equal_those_of_a_single_process(
    alone: list[dict[str, Any]], spread: list[list[dict[str, Any]]], case: int
) -> None:
    expected, close = alone[case], CLOSE[CASES[case][1]]
    assert not expected["skipped"] and not expected["spread"]
    for answers in spread:
        ours = answers[case]
        assert ours["spread"] and not ours["skipped"]
        _assert_close(ours["gradient"], expected["gradient"], close)
        assert list(ours["metrics"]) == list(expected["metrics"])
        assert ours["metrics"] == pytest.approx(expected["metrics"], rel=close, abs=close)


def _learn_by_hand(distributed: DistributedContext) -> dict[str, torch.Tensor]:
    """Gradients of the updates that are worked out by hand, by algorithm and for given ratios."""
    gradients = {}
    for name in (*hand_worked.ADVANTAGES, "ratios"):
        policy = hand_worked.make_policy()
        algorithm: Any = "grpo" if name == "ratios" else name
        learner = Learner(
            policy,
            algorithm=AlgorithmConfig(algorithm=algorithm, recompute_logprobs=False),
            optimizer=OptimizerConfig(max_grad_norm=1e30, tokens_per_micro_batch=ONE_ROLLOUT),
            total_updates=1,
            distributed=distributed,
        )
        ratios = [hand_worked.RATIOS] if name == "ratios" else []
        assert not learner.update(hand_worked.make_groups(*ratios)).skipped
        gradients[name] = full_tensor(policy.gradient)[0]
    return gradients


@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_those_worked_out_by_hand(tmp_path: Path, size: int) -> None:
    # With 4 ranks and 2 rollouts, two ranks compute passes without actions.
    for gradients in on_ranks(tmp_path, size, _learn_by_hand):
        hand_worked.assert_by_hand(gradients.pop("ratios"), hand_worked.GRADIENT_WITH_RATIOS)
        assert sorted(gradients) == sorted(ALGORITHMS)
        for name, gradient in gradients.items():
            hand_worked.assert_by_hand(gradient, hand_worked.gradient_by_hand(name))


def _train_adapter(
    distributed: DistributedContext, model: Any, groups: list[Group]
) -> list[torch.Tensor]:
    """Adapters of a bfloat16 model after an update, gathered into a full copy."""
    adapted = copy.deepcopy(model).to(torch.bfloat16)
    torch.manual_seed(0)
    add_adapter(adapted, rank=2, alpha=4)
    kept = copy.deepcopy(adapted)
    learner = _make_learner(distributed, adapted, "grpo", 40, kl_coef=0.0)
    assert not learner.update(groups).skipped
    gather_weights(learner.policy, kept, distributed)
    return [weight.detach() for weight in kept.parameters() if weight.requires_grad]


def test_float32_adapters_of_a_bfloat16_model_are_sharded(given: Any, tmp_path: Path) -> None:
    model, _, groups = given
    expected = _train_adapter(SINGLE_PROCESS, model, groups["two groups"])
    for adapters in on_ranks(tmp_path, 2, _train_adapter, model, groups["two groups"]):
        for ours, theirs in zip(adapters, expected, strict=True):
            assert ours.dtype == torch.float32
            # The first step of Adam has the size of the learning rate, 1e-3.
            torch.testing.assert_close(ours, theirs, rtol=0, atol=3e-3)


def test_reports_are_bit_identical_on_all_ranks(spread: list[list[dict[str, Any]]]) -> None:
    first, *others = spread
    for other in others:
        for ours, theirs in zip(other, first, strict=True):
            assert ours["metrics"] == theirs["metrics"]
            assert torch.equal(ours["gradient"], theirs["gradient"])


# --- several steps, states ------------------------------------------------------------------------

_MANY_STEPS = {"minibatches": 2, "epochs": 2}


def _make_two_updates(
    distributed: DistributedContext, model: Any, name: str, groups: list[Group]
) -> torch.Tensor:
    """Weights after two updates of four steps; `gather_weights` must give the same."""
    kept = copy.deepcopy(model)
    learner = _make_learner(distributed, model, name, 40, kl_coef=0.0, **_MANY_STEPS)
    for _ in range(2):
        assert not learner.update(groups).skipped
    gather_weights(learner.policy, kept, distributed)
    for ours, theirs in zip(kept.parameters(), learner.policy.parameters(), strict=True):
        assert torch.equal(ours, full_tensor(theirs.detach()))
    return _flat_weights(learner)


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_minibatches_and_epochs_lead_to_the_same_weights(
    given: Any, tmp_path: Path, name: str
) -> None:
    model, _, groups = given
    expected = _make_two_updates(SINGLE_PROCESS, copy.deepcopy(model), name, groups["two groups"])
    for weights in on_ranks(tmp_path, 2, _make_two_updates, model, name, groups["two groups"]):
        _assert_close(weights, expected)


def _update_once(
    distributed: DistributedContext, model: Any, groups: list[Group]
) -> tuple[Any, Any]:
    """Make one update with a critic; return the full policy and the learner's state."""
    kept = copy.deepcopy(model)
    learner = _make_learner(distributed, model, "ppo", 40, kl_coef=0.0, **_MANY_STEPS)
    learner.update(groups)
    gather_weights(learner.policy, kept, distributed)
    return kept, learner.state_dict()


def _resume(
    distributed: DistributedContext, model: Any, state: Any, groups: list[Group]
) -> torch.Tensor:
    learner = _make_learner(distributed, model, "ppo", 40, kl_coef=0.0, **_MANY_STEPS)
    learner.load_state_dict(state)
    learner.update(groups)
    return _flat_weights(learner)


def test_a_state_of_two_ranks_resumes_on_any_number_of_ranks(given: Any, tmp_path: Path) -> None:
    model, _, groups = given
    both = groups["two groups"]
    expected = _make_two_updates(SINGLE_PROCESS, copy.deepcopy(model), "ppo", both)
    (kept, state), (_, others) = on_ranks(tmp_path, 2, _update_once, model, both)
    assert not any(isinstance(value, DTensor) for value in state["critic"].values())
    # Only rank 0 writes files, so the other ranks hold no tensors.
    assert not others["critic"] and not any(others["optimizers"].values())
    _assert_close(
        _resume(SINGLE_PROCESS, copy.deepcopy(kept), copy.deepcopy(state), both), expected
    )
    for size in SIZES:
        for weights in on_ranks(tmp_path, size, _resume, kept, state, both):
            _assert_close(weights, expected)


def test_a_state_of_one_process_resumes_on_two_ranks(given: Any, tmp_path: Path) -> None:
    model, _, groups = given
    both = groups["two groups"]
    kept, state = _update_once(SINGLE_PROCESS, copy.deepcopy(model), both)
    expected = _resume(SINGLE_PROCESS, copy.deepcopy(kept), copy.deepcopy(state), both)
    for weights in on_ranks(tmp_path, 2, _resume, kept, state, both):
        _assert_close(weights, expected)


def _update_and_roll_back(
    distributed: DistributedContext, model: Any, groups: list[Group]
) -> tuple[torch.Tensor, ...]:
    """Weights before an update, after it, and after the rollback."""
    initial = copy.deepcopy(model)
    learner = _make_learner(distributed, model, "ppo", 40, kl_coef=0.0)
    before = _flat_weights(learner)
    learner.update(groups)
    after = _flat_weights(learner)
    learner.rollback(initial, None, lr_scale=0.5)
    return before, after, _flat_weights(learner)


def test_a_sharded_policy_is_rolled_back(given: Any, tmp_path: Path) -> None:
    model, _, groups = given
    for before, after, restored in on_ranks(
        tmp_path, 2, _update_and_roll_back, model, groups["two groups"]
    ):
        assert not torch.equal(after, before)
        # All but the critic's head, which the rollback initializes to zero.
        assert torch.equal(restored[:-17], before[:-17])
        assert (restored[-17:] == 0).all()


def test_a_loss_that_is_not_finite_on_one_rank_fails_on_all(given: Any, tmp_path: Path) -> None:
    model, _, groups = given
    broken = copy.deepcopy(model)
    three = groups["three rollouts"]
    # An id that occurs in the longest rollout only, which one rank processes.
    longest, *rest = sorted(three[0].rollouts, key=lambda rollout: -len(rollout.token_ids))
    (odd, *_) = set(longest.token_ids[:-1]) - {0, *(i for r in rest for i in r.token_ids)}
    with torch.no_grad():
        broken.model.embed_tokens.weight[odd] = torch.nan
    for skipped, reason in on_ranks(tmp_path, 2, _report, broken, three):
        assert skipped and "loss is nan" in reason


def _report(distributed: DistributedContext, model: Any, groups: list[Group]) -> tuple[bool, str]:
    report = _make_learner(distributed, model, "reinforce", 40, kl_coef=0.0).update(groups)
    return report.failed, report.reason


def _die_in_a_pass(
    distributed: DistributedContext, model: Any, groups: list[Group], message: Path
) -> None:
    """The second rank dies in its backward pass, while the first waits for its gradients."""
    if not distributed.is_main:
        model.model.layers[0].register_full_backward_hook(lambda *_: os._exit(0))
    learner = _make_learner(distributed, model, "grpo", MANY_TOKENS, kl_coef=0.0)
    try:
        learner.update(groups)
    except RankLostError as error:
        message.write_text(str(error))
        os._exit(0)


def test_a_rank_lost_in_an_update_is_reported(given: Any, tmp_path: Path) -> None:
    model, _, groups = given
    with pytest.raises(FileNotFoundError):  # no rank returns a result
        on_ranks(tmp_path, 2, _die_in_a_pass, model, groups["two groups"], tmp_path / "message")
    message = (tmp_path / "message").read_text()
    assert "rank 0 of 2 lost another rank while it tried to make update 1 (deadline" in message
