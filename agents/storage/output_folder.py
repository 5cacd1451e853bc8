"""Output folders: their names, their lock, their settings, and JSON Lines files in them.

The last line of a JSON Lines file may be incomplete, since its writer may be killed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from zs_env.text.locks import exclusive_lock

_MAX_NAME = 60  # characters
_MAX_SHOWN = 200  # characters of a value in an error


def folder_name(agent: str) -> str:
    """Return a valid folder name for an agent's name; different names give different folders."""
    plain = re.sub(r"[^\w.-]+", "-", agent).strip("-.")
    if plain == agent and len(plain) <= _MAX_NAME:
        return agent
    return f"{plain[-_MAX_NAME:]}-{blake2b(agent.encode(), digest_size=4).hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class FreshFlag:
    """The flag of commands that reuse stored results.

    Attributes:
        fresh: delete the results that an earlier command stored in the output, and start again.
    """

    fresh: bool = False


@contextmanager
def folder_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock a folder, created if missing. The lock is released when the process is killed.

    With `wait`, another writer is waited for without a time limit. A folder that cannot be locked,
    because its file system or the operating system has no locks, is used without one.

    Raises:
        ValueError: if another process, or another call in this one, holds the lock and `wait` is
            False; or if the folder cannot be created.
    """
    create_folder(folder)
    with ExitStack() as held:
        try:
            held.enter_context(exclusive_lock(folder, wait=wait))
        except BlockingIOError as error:
            raise ValueError(
                f"another process writes to {folder}; wait for it, or choose another --output"
            ) from error
        except OSError:
            pass
        yield


def create_folder(folder: Path) -> None:
    """Create an output folder with its parents, unless it exists.

    Raises:
        ValueError: if it cannot be created: it or a parent is a file, or may not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise ValueError(
            f"the output folder {folder} cannot be created ({reason}); choose another --output"
        ) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path whose file replaces `path` at the end; after an error, it is gone."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def ensure_settings(
    path: Path,
    settings: Mapping[str, Any],
    *,
    what: str,
    files: Iterable[Path],
    uncompared: Iterable[str] = (),
    fresh: bool | None = None,
) -> None:
    """Write settings atomically, or check that the existing ones are equal.

    Args:
        path: of the settings file, inside the folder that is protected; the folder is created.
        settings: JSON values.
        what: the folder contains, such as "evaluation".
        files: that depend on the settings. While they are missing or empty, other settings replace
            the existing ones.
        uncompared: names of settings that may differ; new values replace the existing ones.
        fresh: whether to delete the files first; None if the command has no flag --fresh.

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
    if fresh:
        for file in existing:
            file.unlink()
        existing = []
    uncompared = set(uncompared)
    differing = [
        name
        for name in sorted({*(earlier or {}), *settings} - uncompared)
        if earlier is not None and earlier.get(name) != settings.get(name)
    ]
    if earlier != settings and (not existing or not differing):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return
    assert earlier is not None
    changes = "; ".join(
        f"{name} was {_shown(earlier.get(name))}, now {_shown(settings.get(name))}"
        for name in differing
    )
    if changes:
        start_again = "delete that folder" if fresh is None else "start again with --fresh"
        raise ValueError(
            f"{path.parent} contains another {what} ({changes}); choose another --output, "
            f"or {start_again}"
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


def whole_lines(path: Path) -> list[bytes]:
    """Return the lines that end with a line break; none if the file is missing."""
    if not path.exists():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def truncate_lines(path: Path, count: int) -> None:
    """Remove everything after the first `count` lines of a file, if it exists."""
    if path.exists():
        with open(path, "r+b") as file:
            file.truncate(sum(map(len, whole_lines(path)[:count])))


def replace_lines(path: Path, lines: Mapping[int, bytes]) -> None:
    """Replace the lines of the given numbers, from 0, atomically.

    Raises:
        OSError: if the file cannot be written; it is unchanged then.
    """
    with atomic_path(path) as temporary, path.open("rb") as old, temporary.open("wb") as new:
        for number, line in enumerate(old):
            new.write(lines.get(number, line))
        new.flush()
        os.fsync(new.fileno())
