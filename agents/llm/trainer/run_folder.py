"""The folder of a run: its settings, checkpoints and result.

A folder holds one run: an existing run is continued with `resume`, and otherwise never touched. A
checkpoint is a folder in Hugging Face format that also holds `state.pt`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from agents.llm.policy.location import find_model
from agents.llm.rollout.types import Group
from agents.llm.trainer.config import RunSettings, TrainConfig
from agents.specs import by_content, rewritten, spec_from_text
from agents.storage.config_file import settings_of, with_settings
from agents.storage.output_folder import atomic_path
from zs_env.text.paths import expand_home

_STATE = "state.pt"
# Values that leave a setting to the first session of a run.
_LEFT_OPEN = {"threads": 0, "autocast": "auto", "rollout_dtype": "auto"}
_PREFIX = "step-"
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
_DATA = ("questions", "eval_questions", *_ENGINES)
_DATA_FILE = "data.json"

Settings = TypeVar("Settings", bound=RunSettings)


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read."""


class CheckpointStore:
    """The checkpoints of one run, named by their step.

    Args:
        folder: their folder; created with the first checkpoint.
        keep: number of newest checkpoints that are kept, at least 1; the best is kept too.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
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

        def write(folder: Path) -> None:
            folder.mkdir()
            write_model(folder)
            torch.save(dict(state), folder / _STATE)

        target = self.path(step)
        if not target.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            # A process that died may have left incomplete folders.
            for path in self.folder.glob(".*"):
                if path.is_dir():
                    shutil.rmtree(path)
            self._write(target, write, f"the checkpoint of step {step} could not be saved")
        return target

    def mark_best(self, step: int, score: float) -> None:
        """Mark the saved checkpoint of `step` as the best."""
        text = json.dumps({"step": step, "score": score})
        failed = f"step {step} could not be marked as the best"
        self._write(self.folder / "best.json", lambda path: path.write_text(text), failed)

    def _write(self, target: Path, write: Callable[[Path], object], failed: str) -> None:
        """Write a file or a folder whole or not at all, then delete checkpoints.

        It is written under a temporary name, flushed to the disk and renamed, so the previous
        checkpoint survives a crash at any moment.
        """
        temporary = self.folder / f".writing-{target.name}"
        try:
            write(temporary)
            for path in (*temporary.rglob("*"), temporary):
                _flush(path)
            temporary.rename(target)
            _flush(self.folder)
        except Exception as error:
            shutil.rmtree(temporary, ignore_errors=True)
            latest = self.latest()
            good = f"the last good checkpoint is {latest}" if latest else "there is no earlier one"
            raise CheckpointError(
                f"{failed} in {self.folder}: {error}; {good}; make room there and continue with "
                "--resume"
            ) from error
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


def _flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class RunFolder(Generic[Settings]):
    """Opens `config.run.output` for a new run, or for the run in it with `config.run.resume`.

    Attributes:
        path: the folder.
        config: settings of the run; the number of threads, precisions that are "auto" and the
            checkpoint of a policy that is a run are those of its first session, because others
            change the bits.
        checkpoints: the run's checkpoints.

    Raises:
        FileExistsError: if the folder holds a run and `resume` is off.
        ValueError: if the run in it has other settings.
    """

    def __init__(self, config: Settings) -> None:
        self.path = config.run.output
        recorded = _recorded(config)
        if recorded is not None:
            if not config.run.resume:
                raise FileExistsError(
                    f"{self.path} already holds a run; continue it with --resume, or choose "
                    "another --output"
                )
            config = resumed_config(config, recorded)
        elif (policy := settings_of(config)["policy"]) != "tiny":
            # The best checkpoint of a run that is still trained may be another one on resume.
            config = with_settings(config, {"policy": find_model(policy)})
        self.config = config
        if not config.run.threads:
            self.config = with_settings(config, {"threads": torch.get_num_threads()})
        self.checkpoints = CheckpointStore(
            self.path / "checkpoints", keep=self.config.run.keep_checkpoints
        )

    def record_config(self) -> None:
        """Write the settings. Called after everything that they name was found to exist."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / _DATA_FILE, data_of(self.config))
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


def finished_training(config: TrainConfig) -> str | None:
    """Return the checkpoint of a finished run that is to be resumed; None for any other.

    Raises:
        ValueError: if the run had other settings.
    """
    path = config.run.output / "result.json"
    recorded = _recorded(config)
    if not config.run.resume or not path.exists() or recorded is None:
        return None
    resumed_config(config, recorded)
    result = json.loads(path.read_text(encoding="utf-8"))
    return result["checkpoint"] if result["steps"] >= config.run.steps else None


def data_of(config: RunSettings) -> dict[str, Any]:
    """Return the questions and engines of a run, with the content of files in place of paths."""
    settings = settings_of(config)
    given = {name: settings[name] for name in _DATA if settings.get(name)}
    specs = {
        name: [_spec(name, one) for one in ([value] if isinstance(value, str) else value)]
        for name, value in given.items()
    }
    return json.loads(json.dumps(by_content(specs)))


def _spec(name: str, text: str) -> Any:
    if name not in _ENGINES:
        return spec_from_text(text, role="questions")
    return _without_free(spec_from_text(text, role="engine"))


def resumed_config(config: Settings, recorded: Settings) -> Settings:
    """Return the settings of a resumed run: as requested, with the choices of its first session.

    Args:
        config: settings as requested.
        recorded: settings of the run. Its data is compared by content.

    Raises:
        ValueError: naming every setting that differs, with both values.
    """
    before, data_file = settings_of(recorded), config.run.output / _DATA_FILE
    requested = settings_of(config)
    left_open = [name for name, value in _LEFT_OPEN.items() if requested.get(name) == value]
    policy = requested["policy"]
    if policy and Path(before["policy"]).is_relative_to(expand_home(policy)):
        left_open.append("policy")  # a checkpoint of the requested run
    config = with_settings(config, {name: before[name] for name in left_open})
    free = _FREE | ({"steps"} if _more_steps_change_nothing(recorded) else set())
    # A copy in the dtype of the weights samples the same episodes as the weights themselves.
    same = (None, before.get("dtype"))
    if before.get("rollout_dtype") in same and requested.get("rollout_dtype") in same:
        free |= {"rollout_dtype"}
    data = json.loads(data_file.read_text("utf-8")) if data_file.exists() else None
    differing = [
        f"{name}={value!r} (the run has {before[name]!r})"
        for name, value in settings_of(config).items()
        if name not in free and not (data is not None and name in _DATA)
        if _compared(name, value) != _compared(name, before[name])
    ]
    if data is not None:
        now, values = data_of(config), settings_of(config)
        differing += [
            f"{name}={values.get(name)!r} (not the data that the run began with)"
            for name in _DATA
            if now.get(name) != data.get(name)
        ]
    if differing:
        raise ValueError(
            f"--resume continues the run in {config.run.output} with its own settings, but got "
            f"{', '.join(differing)}; leave those flags as they were, or choose another --output"
        )
    return config


def _recorded(config: Settings) -> Settings | None:
    """Settings of the run in the output folder; None if there is none."""
    path = config.run.output / config.settings_file
    if not path.exists():
        return None
    return type(config).from_json(json.loads(path.read_text(encoding="utf-8")))


def _more_steps_change_nothing(config: RunSettings) -> bool:
    # The last step of a run prefetches no episodes for a next one.
    if not isinstance(config, TrainConfig) or config.rollouts.one_step_off:
        return False
    noise_is_fixed = config.noise.noise_steps > 0 or config.noise.noise_shape == "constant"
    order_is_fixed = config.rollouts.curriculum_steps > 0 or not config.rollouts.curriculum
    return noise_is_fixed and order_is_fixed and config.optimizer.lr_schedule == "constant"


def _compared(name: str, value: Any) -> Any:
    """The part of a setting's value that affects the weights."""
    if name not in _ENGINES or value is None:
        return value
    return _without_free(spec_from_text(value, role="engine"))


def _without_free(spec: Any) -> Any:
    return rewritten(
        spec,
        lambda one: {key: held for key, held in one.items() if key not in _FREE_OF_ENGINES},
    )


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
