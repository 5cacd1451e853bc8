"""One command runs what is missing and nothing else, wherever the rest was run."""

import fcntl
import json
from pathlib import Path

import pytest

from benchmarks.claims import __main__ as retest
from benchmarks.claims.__main__ import main
from tests.benchmarks.claims.conftest import TINY


def _flags(output: Path, *flags: str) -> list[str]:
    return ["--output", str(output), "--seeds", "1", *flags, "--json", "--", *TINY]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Results of the cheapest arm, run for real by a child process."""
    output = tmp_path_factory.mktemp("retest")
    assert main(_flags(output, "--only", "prompted")) == 0
    return output


def test_a_run_leaves_its_row_a_table_and_a_picture(finished):
    (line,) = (finished / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["arm"] == "prompted"
    assert "| prompted |" in (finished / "table.md").read_text()
    assert (finished / "curves.png").stat().st_size > 0


def test_results_from_elsewhere_are_not_run_again(finished, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(retest, "_start", lambda *job: pytest.fail(f"{job} was run again"))
    results = tmp_path / "committed.jsonl"
    results.write_bytes((finished / "results.jsonl").read_bytes())
    flags = _flags(tmp_path / "new", "--only", "prompted", "--results", str(results))
    assert main(flags) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["arm"] for row in printed["runs"]] == ["prompted"]
    assert (tmp_path / "table.md").exists()


def test_what_fails_in_every_try_is_told_and_costs_nothing_else(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(retest, "_TRIES", 2)
    monkeypatch.setattr(retest.sys, "executable", "/bin/false")
    assert main(_flags(tmp_path, "--only", "prompted", "ppo")) == 1
    seen = capsys.readouterr()
    assert json.loads(seen.out) == {"runs": [], "claims": []}
    assert "ppo, seed 0: failed with status 1, see" in seen.err.replace("\n", " ")


def test_two_at_once_are_refused(tmp_path):
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another re-test works in"):
            main(_flags(tmp_path))


def test_an_unknown_arm_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'prompted'"):
        main(_flags(tmp_path, "--only", "promptd"))
