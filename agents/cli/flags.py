"""Command lines: settings from flags over settings from files, and optional packages."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import tyro

from agents.storage.config_file import setting_types, with_settings
from zs_env.text.suggestions import unknown_name

Config = TypeVar("Config")


def parse_flags(
    config_class: type[Config],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """Read a configuration from flags; settings of nested configurations have flags of their own.

    Args:
        config_class: a dataclass.
        argv: the flags.
        prog: name of the command, for its help.
        description: shown above the flags in the help.
        settings: values that take the place of the defaults, as `read_settings` gives them.

    Raises:
        SystemExit: if a flag or the combination of all values is wrong (status 2), or help was
            asked for (status 0).
    """
    return tyro.cli(
        config_class,
        args=_with_switch_values(argv, setting_types(config_class)),
        prog=prog,
        description=description,
        default=_defaults(config_class, None, settings or {}),
        config=(tyro.conf.OmitArgPrefixes,),
    )


def _with_switch_values(argv: Sequence[str], types: Mapping[str, Any]) -> list[str]:
    """Let a setting that is a switch or a word, such as "auto", also be set without a value."""
    words: list[str] = []
    switches = {f"--{n.replace('_', '-')}" for n, kind in types.items() if bool in get_args(kind)}
    for word, following in zip_longest(argv, argv[1:], fillvalue="--"):
        if word in switches and following.startswith("--"):
            words += [word, "True"]
        elif (switch := word.replace("--no-", "--", 1)) in switches and switch != word:
            words += [switch, "False"]
        else:
            words.append(word)
    return words


def _defaults(config_class: Any, default: Any, settings: Mapping[str, Any]) -> Any:
    """A configuration that was not validated: flags may still complete what the settings lack."""
    config = object.__new__(config_class)
    types = get_type_hints(config_class)
    for field in fields(config_class):
        value = field.default if default is None else getattr(default, field.name)
        if is_dataclass(types[field.name]):
            nested = None if value is MISSING else value
            value = _defaults(types[field.name], nested, settings)
        else:
            value = settings.get(field.name, tyro.MISSING if value is MISSING else value)
        object.__setattr__(config, field.name, value)
    return config


def take_flag(flags: list[str], name: str) -> str | None:
    """Remove a flag and its value from a command line, in place; returns the value, if any.

    Raises:
        SystemExit: if no value follows the flag (status 2).
    """
    parser = ArgumentParser(prog="zerosearch train", add_help=False, allow_abbrev=False)
    parser.add_argument(name, dest="value")
    found, flags[:] = parser.parse_known_args(flags)
    return found.value


def flags_by_setting(
    flags: Sequence[str], known: Collection[str]
) -> list[tuple[str, tuple[str, ...]]]:
    """Split a command line into settings, each with the words that set it.

    Args:
        flags: such as `["--eval-noise", "0", "0.5", "--no-tensorboard"]`.
        known: names of all settings.

    Raises:
        ValueError: if a word follows no flag, or a flag belongs to no setting.
    """
    settings = {f"--{name.replace('_', '-')}": name for name in known}
    negated = {flag.replace("--", "--no-", 1): name for flag, name in settings.items()}
    groups: list[tuple[str, tuple[str, ...]]] = []
    for word in flags:
        if word.startswith("--"):
            flag = word.partition("=")[0].replace("_", "-")
            if flag not in negated | settings:
                raise unknown_name("flag", flag, settings)
            groups.append(((negated | settings)[flag], (word,)))
        elif groups:
            name, words = groups[-1]
            groups[-1] = name, (*words, word)
        else:
            raise ValueError(f"expected a flag that begins with --, got {word!r}")
    return groups


def require_packages(command: str, extra: str, *names: str) -> None:
    """Raise a `ValueError` with the way to install them if packages of a command are missing."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ValueError(
            f'{command} needs {", ".join(missing)}: pip install "zerosearch-gym[{extra}]"'
        )


def numbered_folder(
    base: Path, *, resume: bool, holds_run: Callable[[Path], bool], fits: Callable[[Path], bool]
) -> Path:
    """Return the default output folder of a run: `base`, or else `base`-2, `base`-3 and so on.

    Args:
        base: the first of the folders.
        resume: whether a run is continued: the newest that fits, or else the newest. Otherwise the
            first folder without a run is returned.
        holds_run: whether a folder holds a run.
        fits: whether a folder's run has the requested settings.
    """
    runs: list[Path] = []
    folder = base
    while holds_run(folder):
        runs.append(folder)
        folder = base.with_name(f"{base.name}-{len(runs) + 1}")
    if not resume or not runs:
        return folder
    return next(filter(fits, reversed(runs)), runs[-1])


def is_output_given(flags: Sequence[str], table: Mapping[str, Any]) -> bool:
    """Whether a command line, or settings from a file, name the output folder."""
    return "output" in table or any(flag.partition("=")[0] == "--output" for flag in flags)


def with_default_output(config: Any, flags: Sequence[str], table: Mapping[str, Any]) -> Any:
    """Return settings whose output folder lets a second run happen, unless one was given.

    Args:
        config: `RunSettings` with the first of the default folders.
        flags: the command line.
        table: settings from a file.
    """
    if is_output_given(flags, table):
        return config
    base, requested = config.run.output, config.to_json()

    def fits(folder: Path) -> bool:
        recorded = json.loads((folder / config.settings_file).read_text(encoding="utf-8"))
        names = requested.keys() - {"output", "resume", "json", "threads"}
        return all(recorded.get(name) == requested[name] for name in names)

    folder = numbered_folder(
        base,
        resume=config.run.resume,
        holds_run=lambda path: (path / config.settings_file).exists(),
        fits=fits,
    )
    if folder != base and os.environ.get("RANK", "0") == "0":
        print(f"zerosearch: the output folder is {folder}", file=sys.stderr)
    return with_settings(config, {"output": folder})
