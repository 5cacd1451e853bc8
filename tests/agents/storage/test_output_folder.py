"""A folder has one writer at a time, its own name, and settings that cannot change."""

import json
import os
import signal
import subprocess
import sys

import pytest

from agents.storage.output_folder import ensure_settings, folder_lock, folder_name

HOLDS = """
import sys, time
from pathlib import Path
from agents.storage.output_folder import folder_lock
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


def test_different_names_have_different_folders():
    names = [
        "search-once",
        "runs/a",
        "runs-a",
        "runs:a",
        "/runs/a",
        "a" * 200,
        "..",
        "b" * 100 + "/",
        "한" * 300,
    ]
    folders = [folder_name(name) for name in names]
    assert folders[0] == "search-once" and len(set(folders)) == len(names)
    assert all("/" not in name and not name.startswith(".") for name in folders)
    assert max(len(name.encode()) for name in folders) <= 255  # the limit of file systems


@pytest.fixture
def played(tmp_path):
    """A file that depends on the settings."""
    return tmp_path / "new" / "played.jsonl"


def keep(setting, played):
    ensure_settings(played.with_name("setting.json"), setting, what="study", files=[played])
    return json.loads(played.with_name("setting.json").read_text())


def test_equal_settings_are_accepted_and_differences_are_listed(played):
    for _ in range(2):
        assert keep({"seed": 0, "sets": ("a",)}, played) == {"seed": 0, "sets": ["a"]}
        played.write_text("{}\n")
    with pytest.raises(
        ValueError, match=r"another study \(noise was None, now 0.5; seed was 0, now 1\)"
    ):
        keep({"seed": 1, "sets": ["a"], "noise": 0.5}, played)


def test_errors_are_short(played):
    keep({"ids": list(range(1000))}, played)
    played.write_text("{}\n")
    with pytest.raises(ValueError) as caught:
        keep({"ids": list(range(1, 1000))}, played)
    assert len(str(caught.value)) < 700


def test_settings_without_files_are_replaced(played):
    keep({"engine": "nowhere.jsonl"}, played)
    played.touch()
    assert keep({"engine": "passages.jsonl"}, played) == {"engine": "passages.jsonl"}


def test_files_without_settings_are_refused(played):
    played.parent.mkdir()
    played.write_text("mine\n")
    with pytest.raises(ValueError, match=r"contains played.jsonl but no setting.json"):
        keep({"seed": 0}, played)
    assert [path.name for path in played.parent.iterdir()] == ["played.jsonl"]


@pytest.mark.parametrize("text", ["{", "[]", "1"])
def test_damaged_settings_are_refused(played, text):
    keep({"seed": 0}, played)
    played.with_name("setting.json").write_text(text)
    with pytest.raises(ValueError, match=r"setting.json is not a JSON object"):
        keep({"seed": 0}, played)
