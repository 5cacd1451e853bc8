"""The command runs only what is missing."""

import json
from pathlib import Path

import pytest

from agents.storage.output_folder import folder_lock
from benchmarks.claims import __main__ as command
from benchmarks.claims.__main__ import main
from tests.benchmarks.claims.conftest import TINY


def _flags(output: Path, *flags: str) -> list[str]:
    return ["--output", str(output), "--seeds", "1", *flags, "--json", "--", *TINY]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Results of the cheapest arm, run by a child process."""
    output = tmp_path_factory.mktemp("claims")
    assert main(_flags(output, "--only", "prompted")) == 0
    return output


def test_a_run_writes_its_row_a_table_and_a_plot(finished):
    (line,) = (finished / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["arm"] == "prompted"
    assert "| prompted |" in (finished / "table.md").read_text()
    assert (finished / "curves.png").stat().st_size > 0


def test_results_from_elsewhere_are_not_run_again(finished, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "_start", lambda *job: pytest.fail(f"{job} was run again"))
    results = tmp_path / "committed.jsonl"
    results.write_bytes((finished / "results.jsonl").read_bytes())
    flags = _flags(tmp_path / "new", "--only", "prompted", "--results", str(results))
    assert main(flags) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["arm"] for row in printed["runs"]] == ["prompted"]
    assert (tmp_path / "table.md").exists()


def test_a_run_that_fails_in_every_try_is_reported(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "_TRIES", 2)
    monkeypatch.setattr(command.sys, "executable", "/bin/false")
    assert main(_flags(tmp_path, "--only", "prompted", "ppo")) == 1
    seen = capsys.readouterr()
    assert json.loads(seen.out) == {"runs": [], "claims": []}
    assert "ppo, seed 0: failed with status 1, see" in seen.err.replace("\n", " ")


def test_a_second_process_is_refused(tmp_path):
    refused = pytest.raises(ValueError, match="another process writes to")
    with folder_lock(tmp_path / "lock"), refused:
        main(_flags(tmp_path))


def test_an_unknown_arm_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'prompted'"):
        main(_flags(tmp_path, "--only", "promptd"))
