"""A checkpoint is whole or absent, and holds every random state."""

import errno
import random
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.llm.trainer.run_folder import CheckpointError, CheckpointStore, load_state
from agents.llm.trainer.setup import random_state, restore_random_state
from tests.agents.llm.distributed.rank_processes import CHILDREN


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


def _exceed_a_limit(folder: Path, printed: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store, lines = CheckpointStore(folder), []
    store.save(1, {"tensor": torch.zeros(10)}, lambda folder: None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        store.save(2, {"tensor": torch.zeros(1_000_000)}, lambda folder: None)
    except CheckpointError as error:
        lines.append(str(error))
    latest = store.latest()
    assert latest is not None
    lines.append(f"{store.steps()} {load_state(latest)['tensor'].sum().item()}")
    printed.write_text("\n".join(lines))


def test_a_write_that_the_system_refuses_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    printed = tmp_path / "printed.txt"
    process = CHILDREN.Process(target=_exceed_a_limit, args=(tmp_path / "checkpoints", printed))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert "the last good checkpoint is" in printed.read_text()
    assert printed.read_text().splitlines()[-1] == "[1] 0.0"


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
