"""The file in which a folder says what its figures are of, so that no others are added to them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_LONGEST_VALUE = 200  # characters of a value in an error


def keep_setting(
    path: Path, setting: Mapping[str, Any], *, what: str, played: Iterable[Path]
) -> None:
    """Write a setting where none holds yet, whole or not at all.

    Args:
        path: of the file; its folder is what is protected, and made where it is missing.
        setting: JSON values.
        what: the folder holds, such as "evaluation".
        played: files that a setting is about. While they are missing or empty another setting may
            take the place of one that failed.

    Raises:
        ValueError: if files of another setting are there; the message says which values differ.
            Or if they are there without any setting: then somebody else wrote them.
    """
    setting = json.loads(json.dumps(dict(setting)))
    full = [file for file in played if file.exists() and file.stat().st_size]
    there = read_setting(path) if path.exists() else None
    if there is None and full:
        raise ValueError(
            f"{path.parent} holds {full[0].relative_to(path.parent)} but no {path.name}, so it is "
            f"not this kind of {what}; choose another --output"
        )
    if there is None or (there != setting and not full):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(setting, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
        return
    other = sorted(name for name in {*there, *setting} if there.get(name) != setting.get(name))
    if other:
        changes = "; ".join(
            f"{name} was {_shown(there.get(name))}, now {_shown(setting.get(name))}"
            for name in other
        )
        raise ValueError(
            f"{path.parent} holds another {what} ({changes}); choose another --output, or "
            "delete that folder"
        )


def read_setting(path: Path) -> dict[str, Any]:
    """Read what `keep_setting` wrote.

    Raises:
        ValueError: if it is no JSON object.
    """
    text = path.read_text(encoding="utf-8")
    try:
        setting = json.loads(text)
    except ValueError:
        setting = None
    if not isinstance(setting, dict):
        raise ValueError(
            f"{path} is no JSON object ({_shown(text)}); restore it, or delete its folder"
        )
    return setting


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
