import json
import math
from types import SimpleNamespace

import pytest

from agents.llm.trainer import loop
from agents.llm.trainer.collapse import check_collapse

HEALTHY = {
    "reward_mean": 0.4,
    "entropy": 1.0,
    "malformed_rate": 0.05,
    "repeated_tokens": 0.1,
    "kl": 0.01,
    "grad_norm": 0.5,
    "searches_mean": 1.0,
}


def collapse_in(rows, at=None):
    """Step and description of the first collapse, or of that `at` a step; None if there is none."""
    recent = ()
    for step, row in enumerate(rows, 1):
        recent, collapse = check_collapse(recent, step, row)
        if collapse is not None and at in (None, step):
            return step, collapse
    return None


def after(change, healthy=20, steps=10):
    return [HEALTHY] * healthy + [{**HEALTHY, **change}] * steps


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"entropy": 6.0}, "entropy in nats per token went from 1 to 6"),
        ({"entropy": 0.01}, "entropy in nats per token went from 1 to 0.01"),
        ({"malformed_rate": 0.9}, "malformed actions went from 0.05 to 0.9"),
        ({"repeated_tokens": 0.8}, "repeated phrases went from 0.1 to 0.8"),
        ({"kl": 1.0}, "KL to the reference in nats per token went from 0.01 to 1"),
        ({"grad_norm": 50.0}, "gradient norm went from 0.5 to 50"),
        ({"searches_mean": 0.1}, "searches per episode went from 1 to 0.1"),
    ],
)
def test_lost_reward_with_a_symptom_is_a_collapse_with_a_description(change, words):
    step, collapse = collapse_in(after({"reward_mean": 0.0, **change}))
    # The mean of five steps falls below half of the best when three of them are bad.
    assert 23 <= step <= 25
    assert "mean reward fell from 0.400 (steps 1 to 5)" in collapse
    # At step 25 the whole window is bad.
    _, collapse = collapse_in(after({"reward_mean": 0.0, **change}, steps=5), at=25)
    assert words in collapse


@pytest.mark.parametrize(("before", "later"), [(-1e-4, -1.1e-4), (-1e-4, 3e-4), (1e-6, 0.04)])
def test_a_kl_that_stays_close_to_zero_is_no_symptom(before, later):
    healthy = [{**HEALTHY, "kl": before}] * 20
    assert collapse_in(healthy + [{**HEALTHY, "reward_mean": 0.1, "kl": later}] * 10) is None
    assert collapse_in(healthy + [{**HEALTHY, "reward_mean": 0.1, "kl": 0.5}] * 10)


def test_lost_reward_without_a_symptom_is_no_collapse():
    assert collapse_in(after({"reward_mean": 0.0})) is None


def test_a_share_that_stays_zero_is_no_symptom():
    faultless = {"malformed_rate": 0.0, "repeated_tokens": 0.0}
    rows = [{**row, **faultless} for row in after({"reward_mean": 0.0})]
    assert collapse_in(rows) is None
    step, collapse = collapse_in([*rows[:20], *[{**rows[-1], "malformed_rate": 0.5}] * 5])
    assert step == 23 and "malformed actions went from 0 to 0.3" in collapse


def test_symptoms_without_a_loss_of_reward_are_no_collapse():
    assert collapse_in(after({"entropy": 0.01, "grad_norm": 50.0, "kl": 3.0})) is None


def test_a_reward_that_was_always_low_is_not_lost():
    never = {**HEALTHY, "reward_mean": 0.01}
    assert collapse_in([never] * 20 + [{**never, "reward_mean": 0.0, "entropy": 9.0}] * 10) is None


def test_there_is_no_collapse_before_enough_earlier_steps():
    bad = {**HEALTHY, "reward_mean": 0.0, "entropy": 9.0}
    assert collapse_in([HEALTHY] * 4 + [bad] * 5) is None


def test_missing_and_nan_metrics_are_ignored():
    rows = after({"reward_mean": 0.0, "entropy": math.nan, "kl": math.nan})
    assert collapse_in([{k: v for k, v in row.items() if k != "grad_norm"} for row in rows]) is None
    assert (
        collapse_in([{**row, "reward_mean": math.nan} for row in after({"entropy": 9.0})]) is None
    )


def test_recent_metrics_restored_from_json_give_the_same_result():
    rows = after({"reward_mean": 0.0, "entropy": 6.0})
    whole = collapse_in(rows)
    recent, collapse = (), None
    for step, row in enumerate(rows[:22], 1):
        recent, collapse = check_collapse(recent, step, row)
        assert collapse is None
    recent = json.loads(json.dumps(recent))
    for step, row in enumerate(rows[22:], 23):
        recent, found = check_collapse(recent, step, row)
        collapse = collapse or found
    assert whole is not None and collapse == whole[1]


class _Run:
    """What the loop's check of a collapse uses of a run."""

    def __init__(self):
        self.state = SimpleNamespace(step=0, recent=[], rollbacks=0)
        self.config = SimpleNamespace(run=SimpleNamespace(guard="roll_back"))
        self.learner = SimpleNamespace(lr_scale=1.0)
        self.progress = SimpleNamespace(print=lambda text: None)
        self.rolled_back_at = []

    def rollback(self, *, lr_scale):
        self.learner.lr_scale = lr_scale
        self.rolled_back_at.append(self.state.step)
        return "the initial policy"

    def check(self, rows):
        for row in rows:
            self.state.step += 1
            loop._check_collapse(self, row)


def test_one_collapse_is_rolled_back_once_and_a_second_one_again():
    bad = {**HEALTHY, "reward_mean": 0.0, "entropy": 9.0}
    run = _Run()
    run.check([HEALTHY] * 10 + [bad] * 3)
    assert run.rolled_back_at == [13]
    # Steps before the rollback are not compared with later ones, however bad these are.
    run.check([bad] * 9 + [HEALTHY] * 20)
    assert run.rolled_back_at == [13] and run.learner.lr_scale == 0.5
    run.check([bad] * 3)
    assert run.rolled_back_at == [13, 45] and run.learner.lr_scale == 0.25
