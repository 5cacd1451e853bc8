"""Areas, attack success, abstention and paired differences, by hand."""

from math import log
from pathlib import Path

import pytest

from agents.evaluation import EpisodeResult, Report
from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.statistics import Interval
from agents.studies.robustness.play import RobustnessCell
from agents.studies.robustness.scores import (
    ALL_KINDS,
    area_under_risk_coverage,
    compare_all,
    csv_row,
    score_all,
)
from agents.studies.robustness.spec import QuestionSet


def _result(index, f1=0.0, **fields):
    values = {
        "exact_match": 0.0, "cover_match": 0.0, "reward": f1, "searches": 1, "turns": 2,
        "malformed": 0, "reason": "answer", "prediction": "Ann",
    }  # fmt: skip
    return EpisodeResult(index=index, f1=f1, **{**values, **fields})


def _cell(agent, kind, noise, results, name="world-101"):
    results = tuple(results)
    evaluation = EvaluationFolder(
        folder=Path(), setting={}, results=results, agent=agent, set_name=name
    )
    return RobustnessCell(
        agent=agent,
        set=QuestionSet(name=name, env_kwargs={}, episodes=len(results)),
        kind=kind,
        noise=noise,
        report=Report.of(results, setting={}),
        evaluation=evaluation,
    )


def _f1_cells(agent, curves, name="world-101", failures=()):
    """Cells from the F1 of each question by kind and level."""
    return [
        _cell(
            agent,
            kind,
            noise,
            [
                _result(i, f1, failure="down" if (kind, noise, i) in failures else None)
                for i, f1 in enumerate(f1s)
            ],
            name,
        )
        for kind, by_noise in curves.items()
        for noise, f1s in by_noise.items()
    ]


def _score(cells, kind, noise=None, agent="a", group="worlds"):
    (found,) = [
        one
        for one in score_all(cells)
        if (one.set, one.agent, one.kind, one.noise) == (group, agent, kind, noise)
    ]
    return found


CURVES = {
    "empty": {0.0: [1.0, 0.6], 0.5: [0.5, 0.4], 1.0: [0.0, 0.2]},
    "injected": {0.0: [1.0, 0.6], 0.5: [1.0, 0.6], 1.0: [1.0, 0.6]},
}


def test_the_area_of_a_kind_is_that_of_trapezoids_and_all_kinds_count_equally():
    cells = _f1_cells("a", CURVES)
    # The questions' areas are (0.75 + 0.25) / 2 = 0.5 and (0.5 + 0.3) / 2 = 0.4; then 1 and 0.6.
    assert _score(cells, "empty").f1.mean == pytest.approx(0.45)
    assert _score(cells, "injected").f1.mean == pytest.approx(0.8)
    assert _score(cells, ALL_KINDS).f1.mean == pytest.approx((0.45 + 0.8) / 2)
    assert _score(cells, "empty", 0.5).f1.mean == pytest.approx(0.45)
    assert _score(cells, ALL_KINDS, 1.0).f1.mean == pytest.approx((0.1 + 0.8) / 2)


def test_worlds_are_pooled_and_the_corpus_is_apart():
    world = {"empty": {0.0: [1.0], 1.0: [0.0]}}
    other = {"empty": {0.0: [0.4], 1.0: [0.4]}}
    cells = [
        *_f1_cells("a", world, "world-101"),
        *_f1_cells("a", other, "world-102"),
        *_f1_cells("a", other, "corpus"),
    ]
    pooled, corpus = _score(cells, "empty"), _score(cells, "empty", group="corpus")
    assert (pooled.f1.mean, pooled.questions) == (pytest.approx(0.45), 2)
    assert (corpus.f1.mean, corpus.questions) == (pytest.approx(0.4), 1)


def test_a_question_with_a_failure_in_one_cell_is_excluded_from_all():
    cells = _f1_cells("a", CURVES, failures=[("injected", 0.5, 0)])
    assert _score(cells, "empty").f1.mean == pytest.approx(0.4)
    assert _score(cells, "empty", 0.0).questions == 1


def test_the_attack_succeeds_in_a_share_of_the_episodes_with_an_injection():
    shown = {"wrong_answer_shown": True}
    cells = [
        _cell("a", "injected", 0.0, [_result(0), _result(1), _result(2)]),
        _cell("a", "injected", 0.5, [_result(0), _result(1, **shown), _result(2, **shown)]),
        _cell(
            "a", "injected", 1.0,
            [_result(0, misled=True, **shown), _result(1, misled=True, **shown), _result(2)],
        ),
    ]  # fmt: skip
    # Two of the four episodes with an injection.
    assert _score(cells, "injected").misled.mean == 0.5
    assert _score(cells, "injected", 0.5).misled.mean == 0.0
    assert _score(cells, "injected", 1.0).misled.mean == 1.0
    assert _score(cells, "injected", 0.0).misled == Interval()


def test_unknown_and_no_answer_lower_the_coverage_and_not_the_risk():
    answers = ["Ann", "Bob", "Unknown.", None]
    f1s = [1.0, 0.5, 0.0, 0.0]
    results = [
        _result(index, f1, prediction=answer)
        for index, (f1, answer) in enumerate(zip(f1s, answers, strict=True))
    ]
    score = _score([_cell("a", "empty", noise, results) for noise in (0.0, 1.0)], "empty")
    assert (score.coverage.mean, score.risk.mean) == (0.5, 0.25)
    # 1/2 at the risk 1/4; then the integral of (1/8 + c - 1/2) / c from 1/2 to 1.
    assert score.aurc == pytest.approx(0.125 + 0.5 - 0.375 * log(2))


@pytest.mark.parametrize(
    ("coverage", "risk", "area"),
    [(1.0, 0.3, 0.3), (0.0, 0.0, 1.0), (0.5, 1.0, 1.0), (0.5, 0.0, 0.5 - 0.5 * log(2))],
)
def test_the_area_under_risk_and_coverage(coverage, risk, area):
    assert area_under_risk_coverage(coverage, risk) == pytest.approx(area)
    # The same as the mean risk at many coverages.
    steps = 20_000
    shares = [(step + 0.5) / steps for step in range(steps)]
    risks = [
        risk if share <= coverage else (coverage * risk + share - coverage) / share
        for share in shares
    ]
    assert sum(risks) / steps == pytest.approx(area, abs=1e-3)


def test_differences_are_those_of_the_questions_that_both_have():
    low = {kind: {noise: [0.0, 0.1] for noise in by} for kind, by in CURVES.items()}
    cells = [*_f1_cells("a", CURVES), *_f1_cells("b", low, failures=[("empty", 1.0, 1)])]
    found = {one.kind: one for one in compare_all(cells)}
    assert {(one.agent, one.other) for one in found.values()} == {("a", "b")}
    assert (found["empty"].f1.difference.mean, found["empty"].questions) == (0.5, 1)
    assert found[ALL_KINDS].f1.difference.mean == pytest.approx(0.75)
    assert found["empty"].misled.p_value is None


def test_misled_agents_are_compared_where_both_were_shown_a_wrong_answer():
    def cell(agent, noise, *shown_and_misled):
        results = [
            _result(index, wrong_answer_shown=shown, misled=misled)
            for index, (shown, misled) in enumerate(shown_and_misled)
        ]
        return _cell(agent, "misleading", noise, results)

    cells = [
        cell("a", 0.5, (True, True), (True, True), (True, True)),
        cell("a", 1.0, (True, True), (True, False), (True, True)),
        cell("b", 0.5, (True, False), (True, True), (False, False)),
        cell("b", 1.0, (True, True), (True, False), (False, False)),
    ]
    one = next(one for one in compare_all(cells) if one.kind == "misleading")
    # Question 0: (1 + 0) / 2; question 1: 0; question 2 was never attacked for b.
    assert (one.misled.difference.mean, one.misled_questions) == (0.25, 2)
    row = csv_row(one)
    assert row["misled"]["mean"] == 0.25 and row["misled_p_value"] == one.misled.p_value
