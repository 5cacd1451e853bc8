"""Intervals, compared with exact values or with theory."""

import pytest

from agents.evaluation.paired import paired_difference
from agents.evaluation.statistics import Interval, bootstrap_intervals, bootstrap_ratio


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
    paired = paired_difference([1.0, 2.0, 3.0, 4.0], [0.5, 1.5, 2.5, 3.5])
    assert paired.difference == Interval(0.5, 0.5, 0.5)
    assert paired.p_value == pytest.approx(2 / 16, abs=0.0165)


def test_questions_that_differ_by_luck_alone_are_no_difference():
    equal = paired_difference([0.1, 0.7, 0.3], [0.1, 0.7, 0.3])
    assert (equal.difference.mean, equal.p_value) == (0.0, 1.0)
    swapped = paired_difference([1.0, 0.0] * 20, [0.0, 1.0] * 20)
    assert (swapped.difference.mean, swapped.p_value) == (0.0, 1.0)


def test_pairing_sees_what_two_intervals_would_hide():
    first = [0.01 * n for n in range(100)]
    paired = paired_difference([value + 0.01 for value in first], first)
    assert paired.difference.low == pytest.approx(0.01)
    assert paired.p_value == pytest.approx(1 / 10_001)  # none of the draws was as large
    assert paired_difference([], []).p_value is None
    with pytest.raises(ValueError, match="equal length, got 1, 2"):
        paired_difference([1.0], [1.0, 2.0])
