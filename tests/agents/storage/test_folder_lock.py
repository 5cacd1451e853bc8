"""A folder has one writer at a time."""

import os
import signal
import subprocess
import sys

import pytest

from agents.storage.folder_lock import folder_lock

HOLDS = """
import sys, time
from pathlib import Path
from agents.storage.folder_lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def refused(folder):
    return pytest.raises(ValueError, match=f"another process writes to {folder}")


def test_a_second_writer_is_refused_until_the_first_has_finished(tmp_path):
    folder = tmp_path / "new"
    with folder_lock(folder):
        with folder_lock(tmp_path / "other"):
            pass
        with refused(folder), folder_lock(folder):
            pass
    with folder_lock(folder):
        pass
    assert not list(folder.iterdir())


def test_a_killed_process_releases_the_lock(tmp_path):
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with refused(tmp_path), folder_lock(tmp_path):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with folder_lock(tmp_path):
        pass
