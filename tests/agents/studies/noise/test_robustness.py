"""Areas and their differences, by hand."""

from pathlib import Path

import pytest

from agents.baselines import AnswerAtOnce, QuotePage
from agents.evaluation import EpisodeResult, Report
from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.statistics import Interval
from agents.studies.noise.report import area_differences, area_under_curve, robustness_of
from agents.studies.noise.sweep import Cell, run_sweep


def _cell(agent, noise, f1s, failures=()):
    results = tuple(
        EpisodeResult(
            index=index, reward=f1, f1=f1, exact_match=0.0, cover_match=0.0, searches=1, turns=2,
            malformed=0, reason="answer", failure="down" if index in failures else None,
        )
        for index, f1 in enumerate(f1s)
    )  # fmt: skip
    evaluation = EvaluationFolder(
        folder=Path(), setting={}, results=results, agent=agent, set_name="set"
    )
    report = Report.of(results, setting={})
    return Cell(agent=agent, noise=noise, report=report, evaluation=evaluation)


@pytest.mark.parametrize(
    ("noises", "values", "area"),
    [
        ([0.0, 0.5, 1.0], [1.0, 0.5, 0.0], 0.5),
        ([0.0, 0.25, 1.0], [1.0, 1.0, 0.0], 0.25 + 0.75 / 2),
        ([0.2, 0.6], [0.3, 0.3], 0.3),
        ([0.0, 0.5, 1.0], [0.8, 0.2, 0.4], (0.5 + 0.3) / 2),
    ],
)
def test_the_area_is_that_of_trapezoids_over_the_width(noises, values, area):
    assert area_under_curve(dict(zip(noises, values, strict=True))) == pytest.approx(area)


def test_an_agent_is_judged_by_its_mean_curve_whatever_the_order_of_cells():
    cells = [_cell("a", 1.0, [0.0, 0.2]), _cell("a", 0.0, [1.0, 0.6]), _cell("a", 0.5, [0.5, 0.4])]
    (one,) = robustness_of(cells)
    # The mean curve is 0.8, 0.45, 0.1, whose area is (0.625 + 0.275) / 2.
    assert one.area.mean == pytest.approx(0.45)
    assert one.retained.mean == pytest.approx(0.45 / 0.8)
    # The questions' own areas are 0.5 and 0.4.
    assert (one.area.low, one.area.high) == (pytest.approx(0.4), pytest.approx(0.5))
    assert one.questions == 2


def test_without_an_undisturbed_level_nothing_is_said_of_what_is_retained():
    (one,) = robustness_of([_cell("a", 0.2, [1.0]), _cell("a", 0.4, [0.5])])
    assert one.area.mean == pytest.approx(0.75)
    assert one.retained == Interval()
    (useless,) = robustness_of([_cell("a", 0.0, [0.0]), _cell("a", 1.0, [0.0])])
    assert useless.retained == Interval()


def test_a_question_with_a_fault_at_one_level_is_left_out_at_all_and_of_comparisons_too():
    cells = [
        _cell("a", 0.0, [1.0, 1.0, 1.0]),
        _cell("a", 1.0, [0.0, 1.0, 1.0], failures=[0]),
        _cell("b", 0.0, [0.0, 0.5, 0.0], failures=[2]),
        _cell("b", 1.0, [0.0, 0.5, 0.0]),
    ]
    assert [(one.questions, one.area.mean) for one in robustness_of(cells)] == [(2, 1.0), (2, 0.25)]
    (difference,) = area_differences(cells)
    assert (difference.first, difference.second, difference.questions) == ("a", "b", 1)
    assert difference.difference.mean == 0.5


def test_every_two_agents_are_compared_once():
    cells = [_cell(agent, noise, [0.1, 0.2]) for agent in "abc" for noise in (0.0, 1.0)]
    pairs = [(one.first, one.second, one.p_value) for one in area_differences(cells)]
    assert pairs == [("a", "b", 1.0), ("a", "c", 1.0), ("b", "c", 1.0)]
    assert area_differences(cells[:2]) == []


def test_an_agent_that_quotes_pages_loses_them_all_to_noise(tmp_path, quoted_world):
    agents = {"quote": QuotePage, "mute": AnswerAtOnce}
    settings = {"env_kwargs": quoted_world, "episodes": 2}
    quote, mute = robustness_of(run_sweep(agents, [0.0, 1.0], tmp_path, **settings))
    at_no_noise = (4 / 7 + 0.4) / 2
    assert quote.area.mean == pytest.approx(at_no_noise / 2)
    assert quote.retained.mean == pytest.approx(0.5)
    assert mute.area.mean == 0.0
