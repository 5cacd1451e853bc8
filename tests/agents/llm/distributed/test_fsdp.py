"""What several ranks learn is what one process learns: losses, gradients, states."""

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
from agents.llm.learner.critic import Critic
from agents.llm.learner.learner import Learner
from agents.llm.rollout.types import Group
from tests.agents.llm.distributed.rank_processes import on_ranks

SIZES = (2, 4)
# How far sums in another order may be off, as a part of the largest entry.
CLOSE = {"float64": 1e-6, "float32": 1e-4}
MANY_TOKENS, ONE_ROLLOUT = 4096, 1

# Every case: algorithm, type of the weights, which groups, positions of a pass, and settings.
_PLAIN = [(name, "float64", "two groups", MANY_TOKENS, {}) for name in sorted(ALGORITHMS)]
_FLOAT32 = [
    (name, "float32", "two groups", 40, {}) for name in ("grpo", "ppo", "reinforce_pp", "gspo")
]
_SHAPES = [
    # Three rollouts on two ranks, and a rank without any on four.
    ("grpo", "float64", "three rollouts", ONE_ROLLOUT, {}),
    ("ppo", "float64", "three rollouts", MANY_TOKENS, {}),
    # No KL and no entropy bonus: most rows are not computed, and some ranks have none that is.
    ("grpo", "float64", "few useful", MANY_TOKENS, {"kl_coef": 0.0, "entropy_coef": 0.0}),
    ("gspo", "float64", "few useful", ONE_ROLLOUT, {"kl_coef": 0.0, "entropy_coef": 0.0}),
    ("grpo", "float64", "two groups", ONE_ROLLOUT, {"loss_aggregation": "sequence"}),
    ("dr_grpo", "float64", "two groups", ONE_ROLLOUT, {}),
    ("grpo", "float64", "two groups", 40, {"importance_sampling": "sequence_truncate"}),
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
    config = AlgorithmConfig(algorithm=name, **{"kl_coef": 0.05, "entropy_coef": 0.01, **settings})
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
def test_ranks_together_have_the_losses_and_the_gradient_of_one(
    alone: list[dict[str, Any]], spread: list[list[dict[str, Any]]], case: int
) -> None:
    wanted, close = alone[case], CLOSE[CASES[case][1]]
    assert not wanted["skipped"] and not wanted["spread"]
    for answers in spread:
        ours = answers[case]
        assert ours["spread"] and not ours["skipped"]
        _assert_close(ours["gradient"], wanted["gradient"], close)
        assert list(ours["metrics"]) == list(wanted["metrics"])
        assert ours["metrics"] == pytest.approx(wanted["metrics"], rel=close, abs=close)


def test_all_ranks_report_the_same_bits(spread: list[list[dict[str, Any]]]) -> None:
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
    """Weights after two updates of four steps; a whole copy of the policy has the same."""
    kept = copy.deepcopy(model)
    learner = _make_learner(distributed, model, name, 40, kl_coef=0.0, **_MANY_STEPS)
    for _ in range(2):
        assert not learner.update(groups).skipped
    gather_weights(learner.policy, kept)
    for ours, theirs in zip(kept.parameters(), learner.policy.parameters(), strict=True):
        assert torch.equal(ours, full_tensor(theirs.detach()))
    return _flat_weights(learner)


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_minibatches_and_epochs_lead_to_the_same_weights(
    given: Any, tmp_path: Path, name: str
) -> None:
    model, _, groups = given
    wanted = _make_two_updates(SINGLE_PROCESS, copy.deepcopy(model), name, groups["two groups"])
    for weights in on_ranks(tmp_path, 2, _make_two_updates, model, name, groups["two groups"]):
        _assert_close(weights, wanted)


def _begin(distributed: DistributedContext, model: Any, groups: list[Group]) -> tuple[Any, Any]:
    """One update with a critic; the whole policy and the learner's state."""
    kept = copy.deepcopy(model)
    learner = _make_learner(distributed, model, "ppo", 40, kl_coef=0.0, **_MANY_STEPS)
    learner.update(groups)
    gather_weights(learner.policy, kept)
    return kept, learner.state_dict()


def _go_on(
    distributed: DistributedContext, model: Any, state: Any, groups: list[Group]
) -> torch.Tensor:
    learner = _make_learner(distributed, model, "ppo", 40, kl_coef=0.0, **_MANY_STEPS)
    learner.load_state_dict(state)
    learner.update(groups)
    return _flat_weights(learner)


def test_a_state_of_two_ranks_is_continued_by_any_number_of_them(
    given: Any, tmp_path: Path
) -> None:
    model, _, groups = given
    both = groups["two groups"]
    wanted = _make_two_updates(SINGLE_PROCESS, copy.deepcopy(model), "ppo", both)
    (kept, state), (_, others) = on_ranks(tmp_path, 2, _begin, model, both)
    assert not any(isinstance(value, DTensor) for value in state["critic"].values())
    # Only rank 0 writes: the others hold no tensors.
    assert not others["critic"] and not any(others["optimizers"].values())
    _assert_close(_go_on(SINGLE_PROCESS, copy.deepcopy(kept), copy.deepcopy(state), both), wanted)
    for size in SIZES:
        for weights in on_ranks(tmp_path, size, _go_on, kept, state, both):
            _assert_close(weights, wanted)


def test_a_state_of_one_process_is_continued_by_two(given: Any, tmp_path: Path) -> None:
    model, _, groups = given
    both = groups["two groups"]
    kept, state = _begin(SINGLE_PROCESS, copy.deepcopy(model), both)
    wanted = _go_on(SINGLE_PROCESS, copy.deepcopy(kept), copy.deepcopy(state), both)
    for weights in on_ranks(tmp_path, 2, _go_on, kept, state, both):
        _assert_close(weights, wanted)


def _go_back(
    distributed: DistributedContext, model: Any, groups: list[Group]
) -> tuple[torch.Tensor, ...]:
    """Weights at the beginning, after an update, and put back."""
    began = copy.deepcopy(model)
    learner = _make_learner(distributed, model, "ppo", 40, kl_coef=0.0)
    before = _flat_weights(learner)
    learner.update(groups)
    after = _flat_weights(learner)
    learner.rollback(began, None, lr_scale=0.5)
    return before, after, _flat_weights(learner)


def test_a_policy_in_parts_is_put_back_to_its_beginning(given: Any, tmp_path: Path) -> None:
    model, _, groups = given
    for before, after, back in on_ranks(tmp_path, 2, _go_back, model, groups["two groups"]):
        assert not torch.equal(after, before)
        # All but the critic's head, which begins at zero unless it is given.
        assert torch.equal(back[:-17], before[:-17])
        assert (back[-17:] == 0).all()


def test_a_number_that_is_not_finite_on_one_rank_is_refused_by_all(
    given: Any, tmp_path: Path
) -> None:
    model, _, groups = given
    broken = copy.deepcopy(model)
    three = groups["three rollouts"]
    # An id that stands in the longest rollout alone, which only one of the ranks reads.
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
    distributed: DistributedContext, model: Any, groups: list[Group], said: Path
) -> None:
    """The second rank dies while the gradients of a layer are awaited from it."""
    if not distributed.is_main:
        model.model.layers[0].register_full_backward_hook(lambda *_: os._exit(0))
    learner = _make_learner(distributed, model, "grpo", MANY_TOKENS, kl_coef=0.0)
    try:
        learner.update(groups)
    except RankLostError as error:
        said.write_text(str(error))
        os._exit(0)


def test_a_rank_lost_within_an_update_is_an_error_that_says_so(given: Any, tmp_path: Path) -> None:
    model, _, groups = given
    with pytest.raises(FileNotFoundError):  # nobody comes to an answer
        on_ranks(tmp_path, 2, _die_in_a_pass, model, groups["two groups"], tmp_path / "said")
    said = (tmp_path / "said").read_text()
    assert "rank 0 of 2 lost another rank while it tried to make update 1 (deadline" in said
