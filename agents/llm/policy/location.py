"""Finds the files of a model that a user names. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

from zs_env.text.paths import expand_home

TINY_POLICY = Path(__file__).parents[1] / "tiny_policy"
_MODEL_FILES = ("*.safetensors", "*.bin", "adapter_config.json")


def find_model(name: str) -> str:
    """Return the path of a model's files; a name on the hub as it is.

    Args:
        name: "tiny" (the policy that ships with the package), a folder in Hugging Face format, the
            folder of a run (see `find_checkpoint`), a path that ends in .gguf, or a name on the
            hub.

    Raises:
        ValueError: if a local path does not exist or holds no model.
    """
    name = expand_home(name)
    path = Path(name)
    if name == "tiny":
        return str(TINY_POLICY)
    if path.suffix == ".gguf" and not path.is_file():
        raise ValueError(f"there is no GGUF file {name!r}; check the path")
    if path.is_dir():
        return str(find_checkpoint(path))
    if path.suffix != ".gguf" and (
        path.is_absolute() or len(path.parts) > 2 or name[:1] in ("", ".", "~")
    ):
        raise ValueError(f"there is no folder {name!r}; name a folder, a hub model or a .gguf file")
    return name


def find_checkpoint(folder: Path) -> Path:
    """Return the best checkpoint of a run's folder, or else its newest; a model's folder as it is.

    The run of a recipe with several stages is that of its last stage.

    Raises:
        ValueError: if the folder holds neither a model nor a checkpoint.
    """
    if stages := sorted(folder.glob("stage-*")):
        return find_checkpoint(stages[-1])
    checkpoints = {path.name: path for path in sorted(folder.glob("checkpoints/step-*"))}
    if checkpoints:
        marker = folder / "checkpoints" / "best.json"
        best = json.loads(marker.read_text())["step"] if marker.is_file() else -1
        return checkpoints.get(f"step-{best:06d}", next(reversed(checkpoints.values())))
    if not any(any(folder.glob(files)) for files in _MODEL_FILES):
        raise ValueError(
            f"the folder {folder} holds no model, expected a model in Hugging Face format or a "
            "run of `zerosearch train` with a checkpoint; check the path, or wait for the run's "
            "first checkpoint"
        )
    return folder
