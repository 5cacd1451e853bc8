"""The tables and the plot, computed from the results."""

import json
from dataclasses import replace

import pytest

from benchmarks.claims.report import draw, findings, markdown, settings_of, to_json


@pytest.fixture
def rows(make_result):
    better = [make_result("default", seed, *[100] * 9, 0) for seed in range(3)]
    return [*better, *(make_result("prompted", seed, *[0] * 9, 0) for seed in range(3))]


def test_the_real_engine_comes_first(rows):
    assert settings_of(rows) == ["real engine", "noise 0"]


def test_only_settings_of_all_rows_are_compared(rows):
    few = replace(rows[0], percents={"noise 0": rows[0].percents["noise 0"]})
    assert settings_of([*rows, few]) == settings_of([few, *rows]) == ["noise 0"]
    assert "difference, noise 0" in markdown([few, *rows[1:]], command="x")


def test_only_claims_with_both_arms_are_in_the_table(rows):
    (finding,) = findings(rows)
    assert finding.claim.text == "RL with search beats prompting"
    text = markdown(rows, command="python -m benchmarks.claims")
    (line,) = [line for line in text.splitlines() if line.startswith("| e |")]
    assert "+0.900 [" in line and "| 3 |" in line and line.endswith("**holds** |")
    assert "34.47 / 8.82" in line
    assert "| default | GRPO on simulated pages, rising noise | 0.900 (0.900 to 0.900) |" in text
    assert "commit abc" in text and "Errors and failures" not in text


def test_errors_are_listed(rows, make_result):
    bad = replace(make_result("ppo", 3, *[0] * 10), note="TrainingDiverged: so it was", failures=2)
    text = markdown([*rows, bad], command="x")
    assert "- ppo, seed 3: TrainingDiverged: so it was" in text
    assert "- ppo, seed 3: 2 failures" in text


def test_every_table_has_as_many_cells_in_each_line(rows):
    lines = [line for line in markdown(rows, command="x").splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {9, 7}


def test_json_holds_what_intervals_are_computed_from(rows):
    values = json.loads(json.dumps(to_json(rows)))
    assert len(values["runs"]) == 6 and values["runs"][0]["percents"]["noise 0"].endswith("100 0")
    (claim,) = values["claims"]
    assert claim["verdict"] == "holds"
    assert claim["differences"]["real engine"]["mean"] == pytest.approx(0.9)
    assert to_json([]) == {"runs": [], "claims": []}


def test_the_plot_is_drawn_also_without_some_arms(rows, make_result, tmp_path):
    still = replace(make_result("imitation", 0, 50), held_out={"real engine": []})
    draw([*rows, still], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
