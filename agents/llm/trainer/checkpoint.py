"""Checkpoints of a training run: whole or absent, never half.

A checkpoint is a folder in Hugging Face format with `state.pt` beside the weights. It is written
under a temporary name, flushed to the disk and renamed, so a process that dies at any moment
leaves the one before in place.
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
    """A checkpoint could not be written or read; the message names the last good one."""


class CheckpointStore:
    """The checkpoints of one run, named by the step that they follow.

    Args:
        folder: where they lie; made when the first is saved.
        keep: newest checkpoints that stay, at least 1; the best one stays as well.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1 checkpoint, got {keep}")
        self.folder = folder
        self.keep = keep

    def steps(self) -> list[int]:
        """Steps of which a whole checkpoint exists, ascending."""
        found = (path.name.removeprefix(_PREFIX) for path in self.folder.glob(f"{_PREFIX}*"))
        return sorted(int(step) for step in found if step.isdigit())

    def path(self, step: int) -> Path:
        """Folder of the checkpoint that follows `step` updates."""
        return self.folder / f"{_PREFIX}{step:06d}"

    def latest(self) -> Path | None:
        """Newest checkpoint, None where there is none."""
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def best(self) -> tuple[int, float] | None:
        """Step and score of the best checkpoint marked so far."""
        marker = self.folder / "best.json"
        if not marker.exists():
            return None
        best = json.loads(marker.read_text())
        # One that was damaged may have been deleted, as its error advises.
        return (best["step"], best["score"]) if self.path(best["step"]).exists() else None

    def save(
        self, step: int, state: Mapping[str, Any], write_model: Callable[[Path], object]
    ) -> Path:
        """Write a checkpoint and drop the ones no longer kept.

        A checkpoint of the same step is left as it is: it follows from the same updates.

        Args:
            step: updates made so far.
            state: tensors, numbers, strings and containers of them.
            write_model: writes the policy in Hugging Face format into the folder it is given.

        Raises:
            CheckpointError: if it cannot be written, for instance because the disk is full.
        """
        target = self.path(step)
        if target.exists():
            return target
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
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
        """Keep the saved checkpoint of `step` as the best so far."""
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

    def _sweep(self) -> None:
        """Remove what a process that died while writing or deleting left behind."""
        for path in self.folder.glob(".*"):
            if path.is_dir():
                shutil.rmtree(path)

    def _prune(self) -> None:
        best = self.best()
        for step in self.steps()[: -self.keep]:
            if best is None or step != best[0]:
                # Renamed first: a folder that is half deleted must not look like a checkpoint.
                dying = self.folder / f".deleting-{step}"
                self.path(step).rename(dying)
                shutil.rmtree(dying)


def load_state(checkpoint: Path) -> dict[str, Any]:
    """Read the state that was saved beside the weights.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    try:
        return torch.load(checkpoint / _STATE, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            # torch goes on for lines about how to trust a file; the first sentence is the cause.
            f"the checkpoint {checkpoint} cannot be read: {str(error).split('. ')[0]}; "
            "delete that folder to continue from the one before"
        ) from error


def random_state() -> dict[str, Any]:
    """State of every global random generator: Python, NumPy, torch, and CUDA where there is one."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), position, has_gauss, gauss),  # pyright: ignore
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Put every global random generator back where `random_state` found it."""
    random.setstate(state["python"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        # A run may go on where there are fewer devices.
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])


def _flush(path: Path) -> None:
    """Make sure that the disk holds a file or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
