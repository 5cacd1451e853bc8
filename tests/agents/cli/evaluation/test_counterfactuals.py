"""`zerosearch counterfactuals` on the folder of an evaluation and on a cell of a sweep."""

import json

import pytest

from agents.cli.main import main


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_cell_of_a_sweep_can_be_flipped(capsys):
    sweep = ["sweep-noise", "--agents", "follow-the-hops", "--noise", "0.5", "1"]
    assert main([*sweep, "--episodes", "12", "--output", "sweep"]) == 0
    capsys.readouterr()
    command = ["counterfactuals", "--evaluation", "sweep/cells/follow-the-hops/noise-0.5"]
    outputs = []
    for _ in range(2):
        assert main([*command, "--json"]) == 0
        captured = capsys.readouterr()
        outputs.append(json.loads(captured.out))
        assert "useful to noisy" in captured.err and "0 ended in a failure" in captured.err
    assert outputs[0] == outputs[1]
    assert outputs[0]["agent"] == "follow-the-hops" and outputs[0]["noise"] == 0.5
    assert outputs[0]["pages"] == sum(
        mean["pages"] for mean in outputs[0]["means"] if mean["turn"] is None
    )


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--evaluation", "nowhere"], "no evaluation.json"),
        (["--evaluation", "nowhere", "--episodes", "0"], "episodes must be at least 1"),
    ],
)
def test_invalid_flags_are_refused_with_a_hint(flags, hint, capsys):
    assert main(["counterfactuals", *flags]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert hint in error and "Traceback" not in error


def test_flipped_pages_are_not_written_into_the_evaluation(capsys, tmp_path):
    evaluate = ["evaluate", "--agent", "search-once", "--episodes", "3"]
    assert main([*evaluate, "--output", "played"]) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "played").iterdir()}
    assert main(["counterfactuals", "--evaluation", "played", "--output", "played"]) == 2
    assert "choose another --output" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "played").iterdir()} == before
    assert main(["counterfactuals", "--evaluation", "played", "--output", "flip[/b]"]) == 0
    assert "flip[/b]" in capsys.readouterr().err
    assert main([*evaluate, "--output", "flip[/b]"]) == 2
