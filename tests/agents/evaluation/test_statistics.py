"""Intervals: by hand where a hand can, by their law where not."""

import pytest

from agents.evaluation.statistics import Interval, bootstrap_intervals


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
    with pytest.raises(ValueError, match="equally long"):
        bootstrap_intervals({"x": [1.0], "y": []})
