"""A checkpoint is whole or absent, and holds every random state."""

import errno
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.llm.trainer.run_folder import CheckpointError, CheckpointStore, load_state
from agents.llm.trainer.setup import random_state, restore_random_state


def write_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")


def save(store: CheckpointStore, *steps: int) -> None:
    for step in steps:
        store.save(step, {"step": step, "tensor": torch.tensor([float(step)])}, write_weights)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    assert store.latest() is None
    save(store, 3)
    latest = store.latest()
    assert latest is not None
    state = load_state(latest)
    assert state["step"] == 3
    assert torch.equal(state["tensor"], torch.tensor([3.0]))
    assert (latest / "model.safetensors").read_bytes() == b"weights"


def test_the_newest_and_the_best_stay(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    save(store, 1, 2)
    store.mark_best(1, 0.7)
    save(store, 3, 4, 10)
    assert store.steps() == [1, 4, 10]
    assert store.best() == (1, 0.7)
    store.mark_best(10, 0.8)
    assert store.steps() == [4, 10]


def full_disk(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"half of the wei")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_last_good_checkpoint_and_says_so(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 5)
    with pytest.raises(CheckpointError, match=r"No space left.*last good.*step-000005.*--resume"):
        store.save(6, {}, full_disk)
    assert store.steps() == [5]
    assert [path.name for path in tmp_path.iterdir()] == ["step-000005"]
    save(store, 6)
    assert store.steps() == [5, 6]


LIMITED = """
import resource, signal, sys
from pathlib import Path
import torch
from agents.llm.trainer.run_folder import CheckpointError, CheckpointStore, load_state
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = CheckpointStore(Path(sys.argv[1]))
store.save(1, {"tensor": torch.zeros(10)}, lambda folder: None)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.save(2, {"tensor": torch.zeros(1_000_000)}, lambda folder: None)
except CheckpointError as error:
    print(error)
print(store.steps(), load_state(store.latest())["tensor"].sum().item())
"""


def test_a_write_that_the_system_refuses_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the last good checkpoint is" in done.stdout
    assert done.stdout.splitlines()[-1] == "[1] 0.0"


def test_what_a_killed_process_left_half_written_is_not_a_checkpoint(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    save(store, 1)
    (tmp_path / ".writing-step-000002").mkdir()
    (tmp_path / ".deleting-0").mkdir()
    assert store.steps() == [1]
    save(store, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000002"]


def test_a_damaged_checkpoint_is_an_error_that_names_it(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 7)
    (store.path(7) / "state.pt").write_bytes(b"PK torn")
    with pytest.raises(CheckpointError, match=r"step-000007 cannot be read.*delete that folder"):
        load_state(store.path(7))


def test_random_states_come_back_from_the_disk(tmp_path: Path) -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.normal()), float(torch.randn(()))

    before = random_state()
    try:
        # An odd number of normals leaves NumPy's second one waiting in its state.
        draw()
        store = CheckpointStore(tmp_path)
        store.save(1, {"random": random_state()}, write_weights)
        expected = [draw(), draw()]
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        restore_random_state(load_state(store.path(1))["random"])
        assert [draw(), draw()] == expected
    finally:
        restore_random_state(before)


def test_a_best_one_that_was_deleted_is_not_the_best(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step in (1, 2):
        store.save(step, {}, lambda folder: None)
    store.mark_best(2, 0.9)
    shutil.rmtree(store.path(2))
    assert store.best() is None
    store.save(2, {}, lambda folder: None)
    assert store.best() == (2, 0.9)
