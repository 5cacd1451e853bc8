"""Locks between processes, also without fcntl, which Windows lacks."""

import os
import re
import signal
import subprocess
import sys

import pytest

from tests.paths import ROOT
from zs_env.text.locks import exclusive_lock

PACKAGES = ("zs_env", "envs_registry", "agents")
HOLDS = """
import sys, time
from pathlib import Path
from zs_env.text.locks import exclusive_lock
with exclusive_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""
WITHOUT = """
import sys
from pathlib import Path
sys.modules["fcntl"] = None
if {no_filelock}:
    sys.modules["filelock"] = None
folder = Path(sys.argv[1])
"""
WRITES = """
import numpy
from agents.evaluation.evaluate import evaluate
from agents.baselines import AnswerAtOnce
from zs_env.engines.budget.ledger import Ledger
from zs_env.search.types import Document, SearchError, SearchPage

assert evaluate(AnswerAtOnce(), episodes=2, output=folder / "out").num_episodes == 2
try:
    Ledger(folder / "ledger.jsonl").write([SearchPage((Document("a"),))])
    print(len((folder / "ledger.jsonl").read_text().splitlines()))
except SearchError as error:
    print(error)
"""


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_lock_has_one_holder_until_it_ends_or_is_killed(is_folder, tmp_path):
    path = tmp_path / "locked"
    if is_folder:
        path.mkdir()
    with exclusive_lock(path, wait=False):
        with pytest.raises(BlockingIOError), exclusive_lock(path, wait=False):
            pass
        with exclusive_lock(tmp_path / "other", wait=False):
            pass
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError), exclusive_lock(path, wait=False):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    with exclusive_lock(path, wait=False):
        pass
    if not is_folder:
        assert path.read_bytes() == b""


def run_without_fcntl(program, folder, *, no_filelock=False):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(no_filelock=no_filelock) + program, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_only_this_module_imports_what_windows_lacks():
    missing = re.compile(r"^\s*(import|from) (fcntl|grp|pwd|resource|termios)\b", re.MULTILINE)
    paths = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    found = [str(path.relative_to(ROOT)) for path in paths if missing.search(path.read_text())]
    assert found == ["zs_env/text/locks.py"]


def test_without_fcntl_filelock_locks_ledgers_and_folders(tmp_path):
    pytest.importorskip("filelock")
    finished = run_without_fcntl(WRITES, tmp_path)
    assert (finished.returncode, finished.stdout) == (0, "1\n"), finished.stderr


def test_without_any_lock_folders_are_used_and_a_ledger_is_an_error(tmp_path):
    finished = run_without_fcntl(WRITES, tmp_path, no_filelock=True)
    assert finished.returncode == 0, finished.stderr
    assert "ledger.jsonl cannot be locked" in finished.stdout
    assert "pip install filelock" in finished.stdout
