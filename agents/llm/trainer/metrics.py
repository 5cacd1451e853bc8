"""Metrics of a run: one JSON object a line, and TensorBoard or a tracker beside it.

The file is cut back to where the checkpoint stood when a run is resumed, so no step stands in it
twice, whatever the process did between its last checkpoint and its end.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

TrackerName = Literal["none", "wandb", "trackio"]


class MetricsLog:
    """Appends rows to `metrics.jsonl` and hands their numbers on.

    Args:
        folder: the run's output folder.
        position: bytes of the file that count; what follows is cut off.
        step: step from which a resumed run goes on; later TensorBoard points are dropped.
        tensorboard: also write event files under `folder/tensorboard`.
        tracker: also report to Weights & Biases or trackio.
        config: shown by the tracker.
    """

    def __init__(
        self,
        folder: Path,
        *,
        position: int = 0,
        step: int = 0,
        tensorboard: bool = True,
        tracker: TrackerName = "none",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        self.path.touch()
        size = self.path.stat().st_size
        if size < position:
            raise ValueError(
                f"{self.path} has {size} bytes but the checkpoint counts {position}; "
                "the file was changed: restore it, or start again in another --output"
            )
        self._writer = _tensorboard_writer(folder / "tensorboard", step) if tensorboard else None
        self._tracker = _open_tracker(tracker, folder, dict(config or {}))
        os.truncate(self.path, position)
        self._file = self.path.open("ab")

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append one row; numbers that are not finite become null, as JSON has none."""
        row = {"kind": kind, "step": step, **{key: _plain(value) for key, value in values.items()}}
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        numbers = {
            f"{kind}/{key}": value
            for key, value in row.items()
            if key not in ("kind", "step") and isinstance(value, int | float)
        }
        if self._writer is not None:
            for name, value in numbers.items():
                self._writer.add_scalar(name, value, step)
        if self._tracker is not None:
            self._tracker.log(numbers, step=step)

    def position(self) -> int:
        """Bytes written so far, safe on the disk: a checkpoint stores them."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Flush and close the file and what reads along."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()
        if self._tracker is not None:
            self._tracker.finish()


class NoMetrics:
    """What a process that leaves the writing to another one reports to."""

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Drop a row."""

    def position(self) -> int:
        """No file has any bytes."""
        return 0

    def close(self) -> None:
        """There is nothing to close."""


def read_metrics(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Rows of one kind in the order they were written."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tensorboard_writer(folder: Path, step: int) -> Any:
    # Imported here: it takes a second, and a run may go without.
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def _open_tracker(name: TrackerName, folder: Path, config: dict[str, Any]) -> Any:
    """Start a run of wandb or trackio, which share these three calls."""
    if name == "none":
        return None
    try:
        tracker = importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"--tracker {name} needs the package {name!r}: pip install {name}"
        ) from error
    called = f"{folder.name}-{_tracker_id(folder)}"
    identity = {"id": called} if name == "wandb" else {}
    tracker.init(project="zerosearch", name=called, config=config, resume="allow", **identity)
    return tracker


def _tracker_id(folder: Path) -> str:
    """What tells a run from others in folders of the same name; kept, so that it can be resumed."""
    path = folder / "tracker_id"
    if not path.exists():
        path.write_text(token_hex(4), encoding="utf-8")
    return path.read_text(encoding="utf-8")
