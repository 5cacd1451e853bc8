import json
import math

import pytest

from agents.llm.trainer.collapse import CollapseGuard

HEALTHY = {
    "reward_mean": 0.4,
    "entropy": 1.0,
    "malformed_rate": 0.05,
    "repeated_tokens": 0.1,
    "kl": 0.01,
    "grad_norm": 0.5,
}


def watch(rows, given=None):
    """What a watch says of a sequence of rows, None where it says nothing to the end."""
    given = given or CollapseGuard()
    for step, row in enumerate(rows, 1):
        told = given.check(step, row)
        if told is not None:
            return step, told
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
    ],
)
def test_reward_lost_with_a_symptom_is_a_collapse_and_told_in_words(change, words):
    step, told = watch(after({"reward_mean": 0.0, **change}))
    # Of five steps three must be bad before their mean is below half of the best.
    assert 23 <= step <= 25
    assert "mean reward fell from 0.400 (steps 1 to 5)" in told
    _, told = watch(
        [*after({}, steps=0), *[{**HEALTHY, "reward_mean": 0.0, **change}] * 5], _Late()
    )
    assert words in told


class _Late(CollapseGuard):
    """Tells only once all of the window is bad."""

    def check(self, step, row):
        told = super().check(step, row)
        return told if step == 25 else None


def test_reward_that_is_lost_without_a_symptom_is_no_collapse():
    assert watch(after({"reward_mean": 0.0})) is None


def test_a_share_that_was_nothing_and_still_is_is_no_symptom():
    faultless = {"malformed_rate": 0.0, "repeated_tokens": 0.0}
    rows = [{**row, **faultless} for row in after({"reward_mean": 0.0})]
    assert watch(rows) is None
    step, told = watch([*rows[:20], *[{**rows[-1], "malformed_rate": 0.5}] * 5])
    assert step == 23 and "malformed actions went from 0 to 0.3" in told


def test_symptoms_without_a_loss_of_reward_are_no_collapse():
    assert watch(after({"entropy": 0.01, "grad_norm": 50.0, "kl": 3.0})) is None


def test_a_reward_that_was_never_there_cannot_be_lost():
    never = {**HEALTHY, "reward_mean": 0.01}
    assert watch([never] * 20 + [{**never, "reward_mean": 0.0, "entropy": 9.0}] * 10) is None


def test_a_run_that_begins_badly_is_not_judged_before_it_has_a_past():
    bad = {**HEALTHY, "reward_mean": 0.0, "entropy": 9.0}
    assert watch([HEALTHY] * 4 + [bad] * 5) is None


def test_metrics_that_are_missing_or_nan_say_nothing():
    rows = after({"reward_mean": 0.0, "entropy": math.nan, "kl": math.nan})
    assert watch([{k: v for k, v in row.items() if k != "grad_norm"} for row in rows]) is None
    assert watch([{**row, "reward_mean": math.nan} for row in after({"entropy": 9.0})]) is None


def test_a_watch_that_is_stored_and_read_goes_on_to_the_same_verdict():
    rows = after({"reward_mean": 0.0, "entropy": 6.0})
    whole = watch(rows)
    first = CollapseGuard()
    for step, row in enumerate(rows[:22], 1):
        assert first.check(step, row) is None
    second = CollapseGuard(json.loads(json.dumps(first.recent)))
    told = None
    for step, row in enumerate(rows[22:], 23):
        told = told or second.check(step, row)
    assert whole is not None and told == whole[1]
