"""Jobs run in parallel, are retried, and end with the process that started them."""

import subprocess
import sys

import pytest

from benchmarks.claims.processes import run_side_by_side


def _python(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-S", "-c", program, *arguments])


def test_never_more_than_so_many_at_once(tmp_path):
    program = "import sys, pathlib as p; p.Path(sys.argv[1]).touch()"
    begun: list[subprocess.Popen[bytes]] = []

    def start(job: int) -> subprocess.Popen[bytes]:
        assert sum(process.poll() is None for process in begun) < 2
        begun.append(_python(program, str(tmp_path / str(job))))
        return begun[-1]

    ended = dict(run_side_by_side(range(5), start, workers=2, tries=1))
    assert ended == dict.fromkeys(range(5), 0)
    assert len(list(tmp_path.iterdir())) == 5


def test_what_fails_is_tried_again_and_then_given_up():
    begun: list[str] = []

    def start(job: str) -> subprocess.Popen[bytes]:
        begun.append(job)
        works = job == "good" or (job == "shaky" and begun.count("shaky") == 2)
        return _python(f"raise SystemExit({0 if works else 7})")

    ended = dict(run_side_by_side(["bad", "shaky", "good"], start, workers=1, tries=3))
    assert ended == {"bad": 7, "shaky": 0, "good": 0}
    assert begun == ["bad"] * 3 + ["shaky"] * 2 + ["good"]


def test_leaving_ends_what_runs():
    processes: list[subprocess.Popen[bytes]] = []

    def start(seconds: float) -> subprocess.Popen[bytes]:
        processes.append(_python(f"import time; time.sleep({seconds})"))
        return processes[-1]

    running = run_side_by_side([0.0, 600.0], start, workers=2, tries=1)
    assert next(running) == (0.0, 0)
    running.close()
    assert processes[1].returncode == -15


def test_no_workers_do_no_work():
    with pytest.raises(ValueError, match="at least 1"):
        next(run_side_by_side([1], lambda job: _python(""), workers=0, tries=1))
