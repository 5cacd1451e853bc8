"""`zerosearch robustness`: files, JSON and errors."""

import csv
import json

import pytest

from agents.cli.main import main

COMMAND = ["robustness", "--episodes", "2", "--output", "out", "--agents"]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_tables_files_and_json_agree_and_name_the_version(capsys, tmp_path):
    command = [*COMMAND, "search-once", "oracle=follow-the-hops", "--allow-abstain", "--json"]
    assert main(command) == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert figures["version"] == "robustness-v1"
    assert figures["episodes"] == {"world-101": 2, "world-102": 2}
    stored = json.loads((tmp_path / "out/results.json").read_text())
    assert stored == {name: value for name, value in figures.items() if name != "folder"}
    scores = _rows("out/scores.csv")
    assert {row["version"] for row in scores} == {"robustness-v1"}
    assert len(scores) == 2 * 6 * 6  # agents, kinds and all kinds, levels and all levels
    for row, score in zip(scores, figures["scores"], strict=True):
        assert (row["agent"], row["kind"]) == (score["agent"], score["kind"])
        assert float(row["f1"]) == score["f1"]["mean"]
    comparisons = _rows("out/comparisons.csv")
    assert [row["kind"] for row in comparisons] == [*figures["kinds"], "all"]
    markdown = (tmp_path / "out/tables.md").read_text()
    page = (tmp_path / "out/report.html").read_text()
    for words in ("robustness-v1", "Area under F1", "attack success", "Coverage / risk"):
        assert words in markdown and words in page and words in " ".join(captured.err.split())
    # The same command plays nothing and writes the same files.
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == figures
    assert (tmp_path / "out/report.html").read_text() == page


def test_a_world_is_no_question_file_of_the_corpus(capsys, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"text": "Oslo is in Norway."}\n')
    flags = ["--no-worlds", "--questions", '{"kind": "world"}', "--passages", "p.jsonl"]
    assert main([*COMMAND, "search-once", *flags]) == 2
    assert "pass a file of questions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--questions", "q.jsonl"], "--questions and --passages belong together"),
        (["--no-worlds"], "--no-worlds needs --questions"),
        (["--episodes", "0"], "--episodes must be at least 1"),
        (["--concurrency", "0"], "--concurrency must be at least 1, got 0"),
        (["--engine-timeout-s", "-1"], "--engine-timeout-s must be above 0, got -1"),
    ],
)
def test_wrong_flags_are_refused(capsys, flags, message):
    with pytest.raises(SystemExit, match="2"):
        main([*COMMAND, "search-once", *flags])
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
