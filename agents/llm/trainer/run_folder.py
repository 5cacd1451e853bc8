"""The folder of a run: its settings, its checkpoints, its metrics and its result.

It refuses to mix two runs: a folder that holds one is continued on request or left alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from agents.llm.rollout.types import Group
from agents.llm.trainer.checkpoint import CheckpointStore
from agents.llm.trainer.config import TrainConfig, with_threads


class RunFolder:
    """Opens `config.output` for a new run, or for the one that lies there with `config.resume`.

    Attributes:
        path: the folder.
        config: the run's settings; the number of threads is that of the run's beginning, since
            another number gives other bits.
        checkpoints: the run's checkpoints.

    Args:
        config: as asked for.
        threads: CPU threads that `config.threads == 0` stands for.

    Raises:
        FileExistsError: if the folder holds a run and `resume` is off.
        ValueError: if the run there has other settings.
    """

    def __init__(self, config: TrainConfig, *, threads: int) -> None:
        self.path = config.output
        self._record = self.path / "config.json"
        if self._record.exists():
            if not config.resume:
                raise FileExistsError(
                    f"{self.path} already holds a run; continue it with --resume, or choose "
                    "another --output"
                )
            recorded = TrainConfig.from_json(json.loads(self._record.read_text()))
            config = with_threads(config, recorded.threads)
            config.check_resumes(recorded)
        self.config = with_threads(config, threads)
        self.checkpoints = CheckpointStore(
            self.path / "checkpoints", keep=self.config.keep_checkpoints
        )

    def record_config(self) -> None:
        """Write the settings, once everything that they name was found to exist."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self._record, self.config.to_json())

    def dump_groups(self, step: int, groups: Sequence[Group]) -> Path:
        """Keep the rollouts of a step whose loss or gradient was not finite."""
        path = self.path / "bad_batches" / f"step-{step:06d}.pt"
        path.parent.mkdir(exist_ok=True)
        rollouts = [
            {
                "group": number,
                "token_ids": rollout.token_ids,
                "action_mask": rollout.action_mask,
                "logprobs": rollout.logprobs,
                "reward": rollout.reward,
                "text": rollout.transcript.text,
            }
            for number, group in enumerate(groups)
            for rollout in group.rollouts
        ]
        torch.save(rollouts, path)
        return path


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file, whole or not at all."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    temporary.rename(path)
