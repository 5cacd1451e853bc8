"""The folder of a run: its settings, checkpoints, metrics and result.

A folder holds one run: an existing run is continued with `resume`, and otherwise never touched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch

from agents.llm.rollout.types import Group
from agents.llm.trainer.checkpoint import CheckpointStore
from agents.llm.trainer.config import SessionConfig, TrainConfig
from agents.specs import rewritten, spec_from_text
from agents.storage.config_file import settings_of, with_settings

# They affect speed, files and output, but not the weights.
_FREE = frozenset(
    (
        *("resume", "json", "checkpoint_every", "keep_checkpoints", "tensorboard", "tracker"),
        *("output", "prices", "generator", "engine_timeout_s", "rank_deadline_s"),
        "gradient_checkpointing",
    )
)
# The same within an engine's spec: the address of a simulator, and the budget.
_FREE_OF_ENGINES = frozenset(("servers", "limits", "prices", "budget"))
_ENGINES = ("engine", "eval_engine", "real_engine")


class RunSettings(Protocol):
    """Settings of a command that has a run folder: `TrainConfig` or `WarmStartConfig`."""

    settings_file: ClassVar[str]

    @property
    def run(self) -> SessionConfig:
        """Output folder and session."""
        ...

    def to_json(self) -> dict[str, Any]:
        """All settings, flat, as JSON values."""
        ...

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        ...


Settings = TypeVar("Settings", bound=RunSettings)


class RunFolder(Generic[Settings]):
    """Opens `config.run.output` for a new run, or for the run in it with `config.run.resume`.

    Attributes:
        path: the folder.
        config: settings of the run; the number of threads is that of its first session, because
            another number changes the last bits.
        checkpoints: the run's checkpoints.

    Args:
        config: settings as requested.
        threads: CPU threads that `config.run.threads == 0` means.

    Raises:
        FileExistsError: if the folder holds a run and `resume` is off.
        ValueError: if the run in it has other settings.
    """

    def __init__(self, config: Settings, *, threads: int) -> None:
        self.path = config.run.output
        recorded = read_run_config(self.path, type(config))
        if recorded is not None:
            if not config.run.resume:
                raise FileExistsError(
                    f"{self.path} already holds a run; continue it with --resume, or choose "
                    "another --output"
                )
            config = with_threads(config, recorded.run.threads)
            check_resumes(config, recorded)
        self.config = with_threads(config, threads)
        self.checkpoints = CheckpointStore(
            self.path / "checkpoints", keep=self.config.run.keep_checkpoints
        )

    def record_config(self) -> None:
        """Write the settings. Called after everything that they name was found to exist."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / self.config.settings_file, self.config.to_json())

    def dump_groups(self, step: int, groups: Sequence[Group]) -> Path:
        """Write the rollouts of a step whose loss or gradient was not finite."""
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


def read_run_config(folder: Path, config_class: type[Settings]) -> Settings | None:
    """Settings of the run in a folder; None if there is none."""
    path = folder / config_class.settings_file
    if not path.exists():
        return None
    return config_class.from_json(json.loads(path.read_text(encoding="utf-8")))


def finished_training(config: TrainConfig) -> str | None:
    """Return the checkpoint of a finished run that is to be resumed; None for any other.

    Raises:
        ValueError: if the run had other settings.
    """
    path = config.run.output / "result.json"
    recorded = read_run_config(config.run.output, TrainConfig)
    if not config.run.resume or not path.exists() or recorded is None:
        return None
    check_resumes(with_threads(config, recorded.run.threads), recorded)
    result = json.loads(path.read_text(encoding="utf-8"))
    return result["checkpoint"] if result["steps"] >= config.run.steps else None


def with_threads(config: Settings, threads: int) -> Settings:
    """Return the settings with `threads` in place of 0 threads."""
    return config if config.run.threads else with_settings(config, {"threads": threads})


def check_resumes(config: Settings, recorded: Settings) -> None:
    """Check that a run can be resumed with these settings.

    Args:
        config: settings as requested.
        recorded: settings of the run.

    Raises:
        ValueError: naming every setting that differs, with both values.
    """
    free = _FREE | ({"steps"} if _more_steps_change_nothing(recorded) else set())
    before = settings_of(recorded)
    differing = [
        f"{name}={value!r} (the run has {before[name]!r})"
        for name, value in settings_of(config).items()
        if name not in free and _compared(name, value) != _compared(name, before[name])
    ]
    if differing:
        raise ValueError(
            f"--resume continues the run in {config.run.output} with its own settings, but got "
            f"{', '.join(differing)}; leave those flags as they were, or choose another --output"
        )


def _more_steps_change_nothing(config: RunSettings) -> bool:
    if not isinstance(config, TrainConfig):
        return False
    noise_is_fixed = config.noise.noise_steps > 0 or config.noise.noise_shape == "constant"
    order_is_fixed = config.rollouts.curriculum_steps > 0 or not config.rollouts.curriculum
    return noise_is_fixed and order_is_fixed and config.optimizer.lr_schedule == "constant"


def _compared(name: str, value: Any) -> Any:
    """The part of a setting's value that affects the weights."""
    if name not in _ENGINES or value is None:
        return value
    return rewritten(
        spec_from_text(value, role="engine"),
        lambda one: {key: held for key, held in one.items() if key not in _FREE_OF_ENGINES},
    )


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    temporary.rename(path)
