"""Means of flipped pages, by hand."""

import csv

import pytest

from agents.studies.counterfactuals.flip_pages import FlippedPage
from agents.studies.counterfactuals.report import CounterfactualReport


def _page(index, turn, kind, reward, flipped, **fields):
    return FlippedPage(
        index=index, question_id=f"q{index}", turn=turn, kind=kind, reward=reward,
        reward_flipped=flipped, **{"same_page": False} | fields,
    )  # fmt: skip


PAGES = [
    _page(0, 0, "useful", 1.0, 0.0),
    _page(0, 1, "useful", 1.0, 0.5),
    _page(1, 0, "useful", 0.25, 0.25, same_page=True),
    _page(1, 1, "noisy", 0.25, 1.0),
    _page(2, 0, "noisy", 0.0, None, failure="down"),
]


def test_means_are_over_pages_by_direction_and_turn():
    report = CounterfactualReport(PAGES)
    means = {(one.direction, one.turn): one for one in report.means}
    assert list(means) == [
        ("noisy to useful", None),
        ("noisy to useful", 1),
        ("useful to noisy", None),
        ("useful to noisy", 0),
        ("useful to noisy", 1),
    ]
    lost = means["useful to noisy", None]
    assert (lost.pages, lost.difference.mean) == (3, pytest.approx(-1.5 / 3))
    assert lost.changed == pytest.approx(2 / 3)
    assert means["useful to noisy", 0].difference.mean == -0.5
    assert means["useful to noisy", 1].difference.mean == -0.5
    assert means["noisy to useful", None].difference.mean == 0.75
    assert (report.num_failures, report.num_same) == (1, 1)


def test_intervals_resample_questions_and_not_pages():
    # Two questions of three equal pages each: -1 or 0, whichever is drawn twice.
    pages = [_page(n, turn, "useful", 1.0, float(n)) for n in (0, 1) for turn in range(3)]
    (whole, *_) = CounterfactualReport(pages).means
    assert (whole.difference.low, whole.difference.high) == (-1.0, 0.0)


def test_every_page_is_a_row_including_failures(tmp_path):
    report = CounterfactualReport(PAGES)
    report.write_csv(tmp_path)
    with open(tmp_path / "pages.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["difference"] for row in rows] == ["-1.0", "-0.5", "0.0", "0.75", ""]
    assert rows[4]["failure"] == "down"
    with open(tmp_path / "means.csv", newline="") as file:
        assert [row["turn"] for row in csv.DictReader(file)] == ["", "1", "", "0", "1"]


def test_no_pages_give_an_empty_report(tmp_path):
    report = CounterfactualReport([])
    report.write_csv(tmp_path)
    assert report.to_json() == {"pages": 0, "failures": 0, "same_page": 0, "means": []}
    assert report.table().row_count == 0
