"""The results of the replication: one JSON line for each arm and seed, small enough to commit.

It contains every question's F1, in whole percent, so all intervals can be computed from the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.llm.trainer.config import TrainConfig
from agents.storage.output_folder import folder_lock
from benchmarks.claims.arms import ARMS
from zs_env.text.suggestions import unknown_name

# Settings that may differ between compared rows.
_UNCOMPARED = frozenset(
    (
        *("seed", "output", "resume", "json", "threads", "device", "checkpoint_every"),
        *("keep_checkpoints", "tensorboard", "tracker", "prices", "engine_timeout_s"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One arm with one seed.

    Attributes:
        arm: its name.
        seed: of every random choice.
        commit: of the code.
        budget: common settings that differ from the trainer's defaults.
        percents: by setting, F1 of each held-out question in whole percent.
        searches: by setting, mean number in an episode.
        failures: number of episodes that an engine failure ended; held-out ones score 0.
        rewards: mean reward of each training step.
        held_out: by setting, pairs of a step and the F1 of a smaller evaluation.
        seconds: of training.
        note: error of the run; "" without one.
    """

    arm: str
    seed: int
    commit: str
    budget: Mapping[str, Any]
    percents: Mapping[str, tuple[int, ...]]
    searches: Mapping[str, float]
    failures: int
    rewards: tuple[float, ...]
    held_out: Mapping[str, Sequence[tuple[int, float]]]
    seconds: float
    note: str

    def f1_Q(self, setting: str) -> npt.NDArray[np.float64]:
        """Return the F1 of each held-out question, [Q], in [0, 1]."""
        return np.array(self.percents[setting]) / 100

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, with the percents of a setting as one string."""
        texts = {name: " ".join(map(str, values)) for name, values in self.percents.items()}
        return {**asdict(self), "percents": texts}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunResult:
        """Return the inverse of `to_json`."""
        percents = {
            name: tuple(map(int, text.split())) for name, text in values["percents"].items()
        }
        held_out = {name: list(map(tuple, rows)) for name, rows in values["held_out"].items()}
        rewards = tuple(values["rewards"])
        return cls(**{**values, "percents": percents, "held_out": held_out, "rewards": rewards})


def budget_of(base: TrainConfig) -> dict[str, Any]:
    """Return the settings that must be equal in all rows, without the trainer's defaults."""
    own, default = base.to_json(), TrainConfig().to_json()
    return {
        name: value
        for name, value in own.items()
        if name not in _UNCOMPARED and (value != default[name] or name == "steps")
    }


class ResultsFile:
    """Rows by arm and seed, in the order of the arms.

    Args:
        path: of the JSONL file; it need not exist.
        budget: required of all rows.

    Raises:
        ValueError: if a row has another budget.
    """

    def __init__(self, path: Path, budget: Mapping[str, Any]) -> None:
        self.path = path
        self._budget = dict(budget)
        self._rows = self._read()

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in self._rows

    def rows(self) -> list[RunResult]:
        """Return all rows, sorted by arm and seed."""
        order = {name: place for place, name in enumerate(ARMS)}
        return sorted(self._rows.values(), key=lambda row: (order[row.arm], row.seed))

    def add(self, row: RunResult) -> None:
        """Add a row to the current content of the file; the file is replaced atomically.

        Raises:
            ValueError: if it, or a row added by another process, has another budget.
        """
        with folder_lock(self.path.parent, wait=True):
            self._rows |= self._read() | {self._key(row): row}
            temporary = self.path.with_name(f".{self.path.name}")
            with temporary.open("w", encoding="utf-8") as file:
                for one in self.rows():
                    file.write(json.dumps(one.to_json()) + "\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self.path)

    def _read(self) -> dict[tuple[str, int], RunResult]:
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(RunResult.from_json(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(
                    f"{self.path}, line {number} is not a result ({error!r}); remove the line"
                ) from error
        return {self._key(row): row for row in rows}

    def _key(self, row: RunResult) -> tuple[str, int]:
        if row.arm not in ARMS:
            raise unknown_name(f"arm in {self.path}", row.arm, ARMS)
        if row.budget != self._budget:
            raise ValueError(
                f"arm {row.arm!r}, seed {row.seed} had another budget, {dict(row.budget)}; "
                f"{self.path} is for {self._budget}: pass the same flags, or other --results and "
                "--output"
            )
        return row.arm, row.seed


def by_arm(rows: Iterable[RunResult]) -> dict[str, dict[int, RunResult]]:
    """Group rows by arm and seed."""
    arms: dict[str, dict[int, RunResult]] = {}
    for row in rows:
        arms.setdefault(row.arm, {})[row.seed] = row
    return arms
