"""Command lines: settings from flags over settings from files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

import tyro

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
        description: shown above the flags.
        settings: values that take the place of the defaults, as `read_settings` gives them.

    Raises:
        SystemExit: if a flag or the combination of all values is wrong (status 2), or help was
            asked for (status 0).
    """
    return tyro.cli(
        config_class,
        args=list(argv),
        prog=prog,
        description=description,
        default=_defaults(config_class, None, settings or {}),
        config=(tyro.conf.OmitArgPrefixes,),
    )


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


def take_flag(flags: list[str], name: str, value: str) -> str | None:
    """Remove a flag and its value from a command line; returns the value, None without the flag.

    Args:
        flags: of the command line; changed in place.
        name: of the flag, such as "--config".
        value: what the flag takes, for the error message.

    Raises:
        ValueError: if no value follows the flag.
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
    """Split a command line into settings, each with the words that set it.

    Args:
        flags: such as `["--eval-noise", "0", "0.5", "--no-tensorboard"]`.
        known: names of all settings.

    Raises:
        ValueError: if a word follows no flag, or a flag belongs to no setting.
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
