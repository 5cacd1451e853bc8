"""Paths as users write them."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any


def expand_home(name: str | os.PathLike[str]) -> str:
    """Replace `~` or `~user` at the start of a path by the home folder; other names are unchanged.

    Every path that a user passes is read through this function, since no shell expands `~` in a
    TOML file, in JSON or after `--flag=`.

    Raises:
        ValueError: if the name is neither a string nor a path.
    """
    if not isinstance(name, str | os.PathLike):
        raise ValueError(f"got {name!r} ({type(name).__name__}) as a path, expected a string")
    return os.path.expanduser(os.fspath(name))


def local_path(path: str | os.PathLike[str]) -> Path:
    """Return a path whose `~` is expanded."""
    return Path(expand_home(path))


def expand_paths(config: Any) -> None:
    """Expand `~` in the paths of a dataclass that is being constructed, also in tuples of paths."""
    for field in fields(config):
        value = getattr(config, field.name)
        if isinstance(value, Path):
            object.__setattr__(config, field.name, local_path(value))
        elif isinstance(value, tuple) and any(isinstance(one, Path) for one in value):
            object.__setattr__(config, field.name, tuple(map(local_path, value)))
