"""Differences are paired by seed and question, and their interval includes both."""

import numpy as np
import pytest

from benchmarks.claims.pairing import bootstrap_both, paired_interval


def test_only_seeds_of_both_arms_are_compared(make_result):
    one = {0: make_result("default", 0, 100, 50), 1: make_result("default", 1, 0, 0)}
    other = {0: make_result("ppo", 0, 50, 50), 2: make_result("ppo", 2, 100, 100)}
    assert paired_interval(one, other, "real engine").mean == pytest.approx(0.25)
    assert paired_interval({}, other, "real engine").mean is None


def test_arms_that_were_asked_other_questions_are_refused(make_result):
    one, other = {0: make_result("default", 0, 100)}, {0: make_result("ppo", 0, 50, 50)}
    with pytest.raises(ValueError, match=r"\[1, 2\]"):
        paired_interval(one, other, "real engine")


def test_the_same_difference_everywhere_has_no_width():
    interval = bootstrap_both(np.full((5, 7), 0.25))
    assert (interval.low, interval.high) == (pytest.approx(0.25), pytest.approx(0.25))


def test_seeds_that_differ_widen_the_interval_however_many_questions_there_are():
    # Of two seeds one is drawn, so every resample is off by a half, and by more as t of one
    # degree of freedom is: a study of two seeds can all but exclude nothing.
    interval = bootstrap_both(np.array([[0.0] * 100, [1.0] * 100]))
    assert interval.mean == 0.5 and interval.low < -1.0 and interval.high > 2.0


def test_where_seeds_alone_differ_the_interval_is_students():
    # Variance .025 of a seed, .005 of the mean: a standard error of .0707, times 2.776 of t with
    # four degrees of freedom.
    means = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    interval = bootstrap_both(np.repeat(means[:, None], 1000, axis=1))
    assert interval.high == pytest.approx(0.196, rel=0.1)
    assert interval.low == pytest.approx(-0.196, rel=0.1)


def test_questions_that_differ_widen_the_interval_of_equal_seeds():
    interval = bootstrap_both(np.array([[1.0] * 50 + [0.0] * 50] * 5))
    # The standard error of 100 questions is 0.05, and 1.96 of them are 0.098.
    assert interval.low == pytest.approx(0.402, abs=0.015)
    assert interval.high == pytest.approx(0.598, abs=0.015)


def test_one_seed_alone_is_compared_by_questions():
    assert bootstrap_both(np.array([[0.0, 1.0] * 50])).low == pytest.approx(0.4, abs=0.03)
