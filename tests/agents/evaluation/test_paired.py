"""Paired differences: p-values computed by hand, and the effect of pairing."""

import pytest

from agents.evaluation.paired import paired_differences
from agents.evaluation.statistics import stratified_intervals


def _judge(*strata):
    return paired_differences([{"x": values} for values in strata])["x"]


def test_the_p_value_is_the_share_of_sign_assignments_that_reach_as_far():
    # All five of one sign: 2 of the 32 assignments. 10,000 draws of 1/16: 5 deviations are .0121.
    assert _judge([1.0] * 5).p_value == pytest.approx(2 / 32, abs=0.0121)
    # 3, 1 and -1 sum up to 3: |sum| >= 3 in 6 of 8 (only 3 - 1 - 1 and its mirror fall short).
    assert _judge([3.0, 1.0, -1.0]).p_value == pytest.approx(6 / 8, abs=0.022)


def test_equal_agents_differ_by_nothing_with_certainty():
    judged = _judge([0.0] * 9)
    assert (judged.difference.mean, judged.difference.low, judged.p_value) == (0.0, 0.0, 1.0)


def test_a_clear_difference_has_the_least_p_value_that_the_draws_can_show():
    judged = _judge([1.0] * 100)
    assert judged.p_value == pytest.approx(1 / 10_001)
    assert judged.difference.low == 1.0


def test_without_pairs_there_is_nothing_to_say():
    assert _judge([]).p_value is None
    assert _judge([1.0], []).difference.mean is None


def test_every_stratum_counts_alike_however_large():
    judged = _judge([1.0] * 2, [0.0] * 98)
    assert judged.difference.mean == 0.5
    # Two pairs of equal sign: half of the assignments.
    assert judged.p_value == pytest.approx(0.5, abs=0.025)


def test_columns_are_judged_each_by_itself():
    judged = paired_differences([{"x": [1.0] * 20, "y": [0.0] * 20}])
    assert judged["x"].p_value == pytest.approx(1 / 10_001, abs=0.001)
    assert judged["y"].p_value == 1.0


def test_a_mean_of_strata_is_resampled_within_each():
    # Each stratum is constant, so no resampling within it moves its mean.
    interval = stratified_intervals([{"x": [0.0] * 3}, {"x": [1.0] * 50}])["x"]
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.5, 0.5)
