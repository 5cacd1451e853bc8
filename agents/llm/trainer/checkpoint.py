"""Checkpoints of a training run, written atomically.

A checkpoint is a folder in Hugging Face format that also holds `state.pt`. It is written under a
temporary name, flushed to the disk and renamed, so the previous checkpoint survives a crash at any
moment.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

_STATE = "state.pt"
_PREFIX = "step-"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read."""


class CheckpointStore:
    """The checkpoints of one run, named by their step.

    Args:
        folder: their folder; created with the first checkpoint.
        keep: number of newest checkpoints that are kept, at least 1; the best is kept too.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1 checkpoint, got {keep}")
        self.folder = folder
        self.keep = keep

    def steps(self) -> list[int]:
        """Steps with a checkpoint, ascending."""
        found = (path.name.removeprefix(_PREFIX) for path in self.folder.glob(f"{_PREFIX}*"))
        return sorted(int(step) for step in found if step.isdigit())

    def path(self, step: int) -> Path:
        """Folder of the checkpoint after `step` updates."""
        return self.folder / f"{_PREFIX}{step:06d}"

    def latest(self) -> Path | None:
        """Newest checkpoint; None if there is none."""
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def best(self) -> tuple[int, float] | None:
        """Step and score of the best checkpoint; None if there is none."""
        marker = self.folder / "best.json"
        if not marker.exists():
            return None
        best = json.loads(marker.read_text())
        # The user may have deleted it, as the error for a damaged checkpoint advises.
        return (best["step"], best["score"]) if self.path(best["step"]).exists() else None

    def save(
        self, step: int, state: Mapping[str, Any], write_model: Callable[[Path], object]
    ) -> Path:
        """Write a checkpoint and delete those that are no longer kept.

        An existing checkpoint of the same step is kept: it holds the same state.

        Args:
            step: updates made so far.
            state: tensors, numbers, strings and containers of them.
            write_model: writes the policy in Hugging Face format into a folder.

        Raises:
            CheckpointError: if it cannot be written, for instance because the disk is full.
        """
        target = self.path(step)
        if target.exists():
            return target
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_incomplete()
        temporary = self.folder / f".writing-{target.name}"
        try:
            temporary.mkdir()
            write_model(temporary)
            torch.save(dict(state), temporary / _STATE)
            for file in temporary.rglob("*"):
                _flush(file)
            _flush(temporary)
            temporary.rename(target)
            _flush(self.folder)
        except Exception as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise CheckpointError(
                f"the checkpoint of step {step} could not be saved in {self.folder}: {error}; "
                f"{self._last_good()}; make room there and continue with --resume"
            ) from error
        self._prune()
        return target

    def mark_best(self, step: int, score: float) -> None:
        """Mark the saved checkpoint of `step` as the best."""
        marker = self.folder / "best.json"
        temporary = self.folder / ".writing-best.json"
        try:
            temporary.write_text(json.dumps({"step": step, "score": score}))
            _flush(temporary)
            temporary.rename(marker)
            _flush(self.folder)
        except OSError as error:
            raise CheckpointError(
                f"step {step} could not be marked as the best in {self.folder}: {error}; "
                f"{self._last_good()}; make room there and continue with --resume"
            ) from error
        self._prune()

    def _last_good(self) -> str:
        latest = self.latest()
        return f"the last good checkpoint is {latest}" if latest else "there is no earlier one"

    def _remove_incomplete(self) -> None:
        """Remove incomplete folders of a process that died."""
        for path in self.folder.glob(".*"):
            if path.is_dir():
                shutil.rmtree(path)

    def _prune(self) -> None:
        best = self.best()
        for step in self.steps()[: -self.keep]:
            if best is None or step != best[0]:
                # Renamed first, because a partly deleted folder must not look like a checkpoint.
                deleting = self.folder / f".deleting-{step}"
                self.path(step).rename(deleting)
                shutil.rmtree(deleting)


def load_state(checkpoint: Path) -> dict[str, Any]:
    """Read the state of a checkpoint.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    try:
        return torch.load(checkpoint / _STATE, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            # The first sentence is the cause; torch adds lines of advice.
            f"the checkpoint {checkpoint} cannot be read: {str(error).split('. ')[0]}; "
            "delete that folder to continue from the one before"
        ) from error


def random_state() -> dict[str, Any]:
    """State of all global random generators: Python, NumPy, torch and CUDA."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), position, has_gauss, gauss),  # pyright: ignore
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Restore the states of `random_state`."""
    random.setstate(state["python"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        # The run may be resumed with fewer devices.
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])


def _flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
