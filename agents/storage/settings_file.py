"""The settings of a folder's files, so that results of other settings are never added to them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_MAX_SHOWN = 200  # characters of a value in an error


def ensure_settings(
    path: Path, settings: Mapping[str, Any], *, what: str, files: Iterable[Path]
) -> None:
    """Write settings atomically, or check that the existing ones are equal.

    Args:
        path: of the settings file, inside the folder that is protected; the folder is created.
        settings: JSON values.
        what: the folder contains, such as "evaluation".
        files: that depend on the settings. While they are missing or empty, other settings replace
            the existing ones.

    Raises:
        ValueError: if the files have other settings, in which case the message lists the
            differences; or if they exist without a settings file.
    """
    settings = json.loads(json.dumps(dict(settings)))
    existing = [file for file in files if file.exists() and file.stat().st_size]
    earlier = read_settings(path) if path.exists() else None
    if earlier is None and existing:
        raise ValueError(
            f"{path.parent} contains {existing[0].relative_to(path.parent)} but no {path.name}, so "
            f"it is not this kind of {what}; choose another --output"
        )
    if earlier is None or (earlier != settings and not existing):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
        return
    changes = "; ".join(
        f"{name} was {_shown(earlier.get(name))}, now {_shown(settings.get(name))}"
        for name in sorted({*earlier, *settings})
        if earlier.get(name) != settings.get(name)
    )
    if changes:
        raise ValueError(
            f"{path.parent} contains another {what} ({changes}); choose another --output, or "
            "delete that folder"
        )


def read_settings(path: Path) -> dict[str, Any]:
    """Read what `ensure_settings` wrote.

    Raises:
        ValueError: if the file is not a JSON object.
    """
    text = path.read_text(encoding="utf-8")
    try:
        settings = json.loads(text)
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise ValueError(
            f"{path} is not a JSON object ({_shown(text)}); restore it, or delete its folder"
        )
    return settings


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."
