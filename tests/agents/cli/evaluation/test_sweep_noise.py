"""`zerosearch sweep-noise`: files, JSON and errors."""

import csv
import json
import sys

import pytest

from agents.cli.main import main

AGENTS = ["--agents", "search-once", "follow-the-hops"]
SWEEP = ["sweep-noise", "--noise", "0", "0.5", "1", "--episodes", "20", "--output", "sweep"]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_tables_files_and_json_agree(capsys, tmp_path):
    assert main([*SWEEP, *AGENTS, "--json"]) == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    cells = _rows("sweep/sweep.csv")
    assert [(row["agent"], float(row["noise"])) for row in cells] == [
        (agent, noise) for agent in AGENTS[1:] for noise in (0.0, 0.5, 1.0)
    ]
    for row, cell in zip(cells, figures["cells"], strict=True):
        for end, column in (("mean", "f1"), ("low", "f1_low"), ("high", "f1_high")):
            assert float(row[column]) == cell["f1"][end]
        assert float(row["observed_noise"]) == cell["observed_noise"]["mean"]
    areas = {row["agent"]: float(row["area"]) for row in _rows("sweep/areas.csv")}
    assert areas["follow-the-hops"] > areas["search-once"]
    (difference,) = _rows("sweep/differences.csv")
    assert float(difference["difference"]) == pytest.approx(
        areas["search-once"] - areas["follow-the-hops"]
    )
    assert figures["areas"][0]["area"]["mean"] == areas["search-once"]
    for words in ("Robustness", "Paired differences", "Plot: sweep/sweep.png"):
        assert words in captured.err
    assert (tmp_path / "sweep/sweep.png").read_bytes().startswith(b"\x89PNG")
    assert "follow-the-hops" in (tmp_path / "sweep/report.html").read_text()


def test_an_agent_can_be_added_later(capsys):
    assert main([*SWEEP, *AGENTS[:2]]) == 0
    assert not main([*SWEEP, *AGENTS]) and len(_rows("sweep/sweep.csv")) == 6
    error = capsys.readouterr().err
    assert "search-once, noise 0.5: 20 of 20 episodes were played before" in error
    assert "follow-the-hops, noise 0.5: f1" in error


def test_without_matplotlib_the_figures_are_still_written(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "agents.studies.noise.plot", raising=False)
    assert main([*SWEEP, *AGENTS]) == 0
    error = " ".join(capsys.readouterr().err.split())
    assert 'pip install "zerosearch-gym[train]"' in error
    assert len(_rows("sweep/sweep.csv")) == 6
    assert not (tmp_path / "sweep/sweep.png").exists()


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--agents", "search-once", "serch-once"], "Did you mean 'search-once'"),
        (["--agents", "search-once", "search-once"], "different names"),
        ([*AGENTS, "--noise", "0.5"], "two or more different noise levels"),
        ([*AGENTS, "--noise", "0", "2"], "probability in [0, 1], got 2"),
        ([*AGENTS, "--env", "ZeroSerch-v0"], "ZeroSearch"),
    ],
)
def test_invalid_flags_are_refused_before_anything_is_played(flags, hint, capsys):
    assert main(["sweep-noise", "--output", "sweep", *flags]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert hint in error and "Traceback" not in error and "f1" not in error


def test_fewer_episodes_apply_to_every_file(capsys, tmp_path):
    assert main([*SWEEP, *AGENTS[:2]]) == 0
    capsys.readouterr()
    assert main([*SWEEP, *AGENTS[:2], "--episodes", "4", "--json"]) == 0
    captured = capsys.readouterr()
    assert {cell["episodes"] for cell in json.loads(captured.out)["cells"]} == {4}
    report = (tmp_path / "sweep/report.html").read_text()
    assert '"episodes":4' in report and '"episodes":20' not in report


def test_a_failed_first_command_does_not_block_the_folder(capsys):
    flags = ["--agents", "search-once", "--noise", "0", "1", "--episodes", "2"]
    assert main(["sweep-noise", *flags, "--output", "a[/b]", "--env", "ZeroSearch-v9"]) == 2
    assert main(["sweep-noise", *flags, "--output", "a[/b]"]) == 0
    assert "Plot: a[/b]/sweep.png" in capsys.readouterr().err
