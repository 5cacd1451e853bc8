"""The results file: one budget, complete lines, and every question's score."""

import json
from pathlib import Path

import pytest

from agents.llm.trainer.config import TrainConfig
from benchmarks.claims.results import ResultsFile, budget_of, by_arm


def test_rows_come_back_in_the_order_of_the_arms(tmp_path, make_result):
    path = tmp_path / "deep" / "results.jsonl"
    results = ResultsFile(path, {"steps": 2})
    for arm, seed in (("ppo", 0), ("default", 1), ("default", 0)):
        results.add(make_result(arm, seed, 100, 33, 0))
    again = ResultsFile(path, {"steps": 2})
    assert [(row.arm, row.seed) for row in again.rows()] == [
        ("default", 0),
        ("default", 1),
        ("ppo", 0),
    ]
    assert again.rows()[0] == results.rows()[0].from_json(results.rows()[0].to_json())
    assert again.rows()[0].f1_Q("real engine").tolist() == [1.0, 0.33, 0.0]
    assert ("ppo", 0) in again and ("ppo", 1) not in again
    assert list(by_arm(again.rows())["default"]) == [0, 1]
    assert [file.name for file in path.parent.iterdir()] == ["results.jsonl"]


def test_a_row_of_512_questions_takes_a_few_kilobytes(make_result):
    row = make_result("default", 0, *[100, 0, 67, 0] * 128)
    assert len(json.dumps(row.to_json())) < 4000


def test_rows_of_another_budget_are_refused(tmp_path, make_result):
    path = tmp_path / "results.jsonl"
    ResultsFile(path, {"steps": 2}).add(make_result("default", 0, 100))
    with pytest.raises(ValueError, match=r"another budget, \{'steps': 2\}"):
        ResultsFile(path, {"steps": 3})
    with pytest.raises(ValueError, match="pass the same flags"):
        ResultsFile(tmp_path / "none", {"steps": 3}).add(make_result("default", 0, 100))


def test_two_writers_lose_no_row_of_each_other(tmp_path, make_result):
    path = tmp_path / "results.jsonl"
    one, other = (ResultsFile(path, {"steps": 2}) for _ in range(2))
    one.add(make_result("default", 0, 100))
    other.add(make_result("ppo", 0, 50))
    for results in (other, ResultsFile(path, {"steps": 2})):
        assert [row.arm for row in results.rows()] == ["default", "ppo"]


@pytest.mark.parametrize("line", ["{", "{}", "[]"])
def test_a_line_that_is_not_a_result_is_named(tmp_path, line):
    (tmp_path / "results.jsonl").write_text(f"{line}\n")
    with pytest.raises(ValueError, match="line 1 is not a result"):
        ResultsFile(tmp_path / "results.jsonl", {"steps": 2})


def test_an_arm_that_is_no_more_is_named(tmp_path, make_result):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(make_result("gprx", 0, 1).to_json()) + "\n")
    with pytest.raises(ValueError, match=r"unknown arm in .*results.jsonl 'gprx'"):
        ResultsFile(path, {"steps": 2})


def test_a_budget_is_what_shapes_a_run():
    base = TrainConfig.of(steps=5, group_size=4)
    assert budget_of(base) == {"steps": 5, "group_size": 4}
    elsewhere = TrainConfig.of(
        steps=5, group_size=4, seed=3, output=Path("x"), threads=2, tensorboard=False
    )
    assert budget_of(elsewhere) == budget_of(base)
    assert budget_of(TrainConfig()) == {"steps": 38}
