"""Intervals, compared with exact values or with theory."""

import pytest

from agents.evaluation.statistics import (
    Interval,
    bootstrap_intervals,
    bootstrap_ratio,
    paired_differences,
    stratified_intervals,
)


def _judge(*strata):
    return paired_differences([{"x": values} for values in strata])["x"]


def _paired(first, second):
    return _judge([one - other for one, other in zip(first, second, strict=True)])


def test_equal_numbers_have_an_interval_of_no_width():
    assert bootstrap_intervals({"x": [0.25] * 7})["x"] == Interval(0.25, 0.25, 0.25)
    assert bootstrap_intervals({"x": [3.0]})["x"] == Interval(3.0, 3.0, 3.0)


def test_nothing_averages_to_nothing():
    assert bootstrap_intervals({"x": []})["x"] == Interval(None, None, None)
    assert str(Interval(None, None, None)) == "-"


def test_the_interval_of_a_coin_is_that_of_the_normal_approximation():
    # 400 tosses, half heads: standard error 0.5 / 20 = 0.025, so about 0.5 -+ 0.049.
    interval = bootstrap_intervals({"x": [0.0, 1.0] * 200})["x"]
    assert interval.mean == 0.5
    assert interval.low == pytest.approx(0.451, abs=0.008)
    assert interval.high == pytest.approx(0.549, abs=0.008)


def test_both_ends_of_an_interval_of_a_skewed_column():
    # The number of ones in 10 draws of [1, 0 x 9] is binomial: P(0) = .35, P(<= 2) = .93 and
    # P(<= 3) = .987, so the quantiles 2.5 % and 97.5 % are 0 and 3.
    rare = [1.0] + [0.0] * 9
    columns = {"rare": rare, "usual": [1 - value for value in rare]}
    intervals = bootstrap_intervals(columns)
    for name, expected in {"rare": (0.1, 0.0, 0.3), "usual": (0.9, 0.7, 1.0)}.items():
        interval = intervals[name]
        assert (interval.mean, interval.low, interval.high) == pytest.approx(expected)


def test_columns_are_resampled_together_and_repeatably():
    columns = {"x": [1.0, 2.0, 5.0, 9.0], "double": [2.0, 4.0, 10.0, 18.0]}
    first, again = bootstrap_intervals(columns), bootstrap_intervals(columns)
    assert first == again
    for end in ("mean", "low", "high"):
        assert getattr(first["double"], end) == pytest.approx(2 * getattr(first["x"], end))


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="equal length"):
        bootstrap_intervals({"x": [1.0], "y": []})


def test_a_ratio_is_that_of_the_sums_and_not_the_mean_of_ratios():
    # 1/1 and 1/9: 2 of 10, where the mean of the ratios would be 5/9.
    assert bootstrap_ratio([1.0, 1.0], [1.0, 9.0]).mean == pytest.approx(0.2)
    assert bootstrap_ratio([2.0, 4.0], [4.0, 8.0]) == Interval(0.5, 0.5, 0.5)
    assert bootstrap_ratio([1.0, 2.0], [0.0, 0.0]) == Interval(None, None, None)
    assert bootstrap_ratio([], []) == Interval(None, None, None)


def test_of_four_equal_differences_two_of_sixteen_signs_are_as_large():
    # All heads or all tails: 2 / 16; of 10,000 draws the standard deviation is 0.0033.
    paired = _paired([1.0, 2.0, 3.0, 4.0], [0.5, 1.5, 2.5, 3.5])
    assert paired.difference == Interval(0.5, 0.5, 0.5)
    assert paired.p_value == pytest.approx(2 / 16, abs=0.0165)


def test_questions_that_differ_by_luck_alone_are_no_difference():
    equal = _paired([0.1, 0.7, 0.3], [0.1, 0.7, 0.3])
    assert (equal.difference.mean, equal.p_value) == (0.0, 1.0)
    swapped = _paired([1.0, 0.0] * 20, [0.0, 1.0] * 20)
    assert (swapped.difference.mean, swapped.p_value) == (0.0, 1.0)


def test_pairing_sees_what_two_intervals_would_hide():
    first = [0.01 * n for n in range(100)]
    paired = _paired([value + 0.01 for value in first], first)
    assert paired.difference.low == pytest.approx(0.01)
    assert paired.p_value == pytest.approx(1 / 10_001)  # none of the draws was as large
    assert _paired([], []).p_value is None


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
