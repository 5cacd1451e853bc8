"""Metrics of a run: a file with one JSON object per line, TensorBoard, and a tracker.

When a run is resumed, the file is truncated to its size at the checkpoint, so that no step occurs
twice.
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
    """Appends rows to `metrics.jsonl`, and sends their numbers to TensorBoard and a tracker.

    Args:
        folder: the run's output folder.
        position: size in bytes to which an existing file is truncated.
        step: last step before a resume; later TensorBoard points are dropped.
        tensorboard: also write event files under `folder/tensorboard`.
        tracker: also report to Weights & Biases or trackio.
        config: settings, for the tracker.
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
        self._writer: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # takes a second and is optional

            purge_step = step + 1 if step else None
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=purge_step)
        self._tracker = _open_tracker(tracker, folder, dict(config or {}))
        os.truncate(self.path, position)
        self._file = self.path.open("ab")

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append one row; numbers that are not finite become null.

        TensorBoard and the tracker get them as `kind/name`, or as `kind/setting/name` for a row
        with a `setting`.
        """
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }
        row = {"kind": kind, "step": step, **finite}
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        group = f"{kind}/{values['setting']}" if "setting" in values else kind
        numbers = {
            f"{group}/{key}": value
            for key, value in finite.items()
            if isinstance(value, int | float)
        }
        if self._writer is not None:
            for name, value in numbers.items():
                self._writer.add_scalar(name, value, step)
        if self._tracker is not None:
            self._tracker.log(numbers, step=step)

    def position(self) -> int:
        """Flush the file to the disk and return its size in bytes, for a checkpoint."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Close the file, TensorBoard and the tracker."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()
        if self._tracker is not None:
            self._tracker.finish()


def read_metrics(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return the rows of one kind, in order."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def _open_tracker(name: TrackerName, folder: Path, config: dict[str, Any]) -> Any:
    """Start a run of wandb or trackio; both have `init`, `log` and `finish`."""
    if name == "none":
        return None
    try:
        tracker = importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"--tracker {name} needs the package {name!r}: pip install {name}"
        ) from error
    # Distinguishes runs in folders of the same name; stored, so that the run can be resumed.
    path = folder / "tracker_id"
    if not path.exists():
        path.write_text(token_hex(4), encoding="utf-8")
    run_name = f"{folder.name}-{path.read_text(encoding='utf-8')}"
    identity = {"id": run_name} if name == "wandb" else {}
    tracker.init(project="zerosearch", name=run_name, config=config, resume="allow", **identity)
    return tracker
