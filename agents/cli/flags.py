"""Settings as flags of a command line: those that TOML tables hold, and those that a user gave.

Both are read by one parser then, which checks them alike and lets the later ones win.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from zs_env.text.suggestions import unknown_name


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ValueError: if it is none.
        OSError: if it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is no valid TOML: {error}") from error


def flags_of_table(
    values: Mapping[str, Any], known: Collection[str], *, where: object
) -> list[str]:
    """Write settings as flags; tables become JSON.

    Args:
        values: by name, with underscores.
        known: the settings there are.
        where: the values stand, as errors call it.

    Raises:
        ValueError: if a name is not known.
    """
    flags: list[str] = []
    for name, value in values.items():
        if name not in known:
            raise unknown_name(f"key in {where}", name, known)
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, list):
            flags += [f"--{flag}", *map(_written, value)]
        else:
            flags += [f"--{flag}", _written(value)]
    return flags


def _written(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def take_flag(flags: list[str], name: str, value: str) -> str | None:
    """Take a flag and its value out of a command line; None where it is not there.

    Args:
        flags: of the command line; changed in place.
        name: of the flag, such as "--config".
        value: what is to follow it, as the error calls it.

    Raises:
        ValueError: if nothing follows it.
    """
    for place, flag in enumerate(flags):
        found, equals, text = flag.partition("=")
        if found != name:
            continue
        if not equals and place + 1 == len(flags):
            raise ValueError(f"{name} needs {value}")
        taken = text if equals else flags[place + 1]
        del flags[place : place + (1 if equals else 2)]
        return taken
    return None


def flags_by_setting(
    flags: Sequence[str], known: Collection[str]
) -> list[tuple[str, tuple[str, ...]]]:
    """Take a command line apart: each setting's name with the words that set it.

    Args:
        flags: such as `["--eval-noise", "0", "0.5", "--no-tensorboard"]`.
        known: the settings there are.

    Raises:
        ValueError: if a word belongs to no flag, or a flag to no setting.
    """
    groups: list[tuple[str, tuple[str, ...]]] = []
    for word in flags:
        if word.startswith("--"):
            groups.append((_setting(word, known), (word,)))
        elif groups:
            name, words = groups[-1]
            groups[-1] = name, (*words, word)
        else:
            raise ValueError(f"expected a flag that begins with --, got {word!r}")
    return groups


def _setting(flag: str, known: Collection[str]) -> str:
    word = flag.partition("=")[0]
    name = word.removeprefix("--").replace("-", "_")
    if name not in known and name.removeprefix("no_") in known:
        return name.removeprefix("no_")
    if name not in known:
        flags = [f"--{one.replace('_', '-')}" for one in known]
        raise unknown_name("flag", word, flags)
    return name
