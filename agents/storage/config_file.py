"""Settings of nested dataclasses as one flat table: TOML files in, JSON records out.

A setting is a field of a configuration or of a configuration nested in it. Its name is the name of
the field, which is unique over all of them.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from zs_env.text.paths import local_path
from zs_env.text.suggestions import unknown_name

Config = TypeVar("Config")


class FlatSettings:
    """Base of a configuration of nested dataclasses whose settings all have defaults."""

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """The default configuration with some settings replaced, by their flat names."""
        return with_settings(cls(), settings)

    def to_json(self) -> dict[str, Any]:
        """All settings, flat, as JSON values."""
        return {name: _plain(value) for name, value in settings_of(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; settings that are missing have their defaults."""
        return cls.of(**read_settings(values, cls, where="the recorded settings"))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not valid TOML.
        OSError: if it cannot be read.
    """
    if not local_path(path).is_file():
        raise FileNotFoundError(f"{path} is not a file; pass the path of a TOML file")
    try:
        return tomllib.loads(local_path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(
            f"{path} is no valid TOML: {error}; expected lines such as steps = 60"
        ) from error


def setting_types(config_class: type) -> dict[str, Any]:
    """Type of every setting of a configuration, by name, in the order of the fields."""
    types: dict[str, Any] = {}
    for name, kind in get_type_hints(config_class).items():
        types |= setting_types(kind) if is_dataclass(kind) else {name: kind}  # pyright: ignore
    return types


def settings_of(config: Any) -> dict[str, Any]:
    """Value of every setting of a configuration, by name."""
    values: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        values |= settings_of(value) if is_dataclass(value) else {field.name: value}
    return values


def with_settings(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a configuration with some settings replaced, also those of nested configurations.

    Raises:
        ValueError: if there is no such setting, or the configuration refuses a value.
    """
    known = settings_of(config)
    for name in values:
        if name not in known:
            raise unknown_name(f"setting of {type(config).__name__}", name, known)
    changes = dict(values)
    for field in fields(config):  # type: ignore[arg-type]
        nested = getattr(config, field.name)
        if is_dataclass(nested):
            own = {name: changes.pop(name) for name in settings_of(nested) if name in values}
            changes[field.name] = with_settings(nested, own)
    return replace(config, **changes)  # type: ignore[type-var]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def read_settings(table: Mapping[str, Any], config_class: type, *, where: object) -> dict[str, Any]:
    """Check the names of a TOML or JSON table and convert its values to the settings' types.

    A string is read as on the command line. A table is accepted where a flag takes JSON.

    Args:
        table: values by the name of the setting, with underscores.
        config_class: configuration that the settings belong to.
        where: the file, or the part of it, for error messages.

    Raises:
        ValueError: naming the file and the key, if a name is unknown or a value has another type.
    """
    types = setting_types(config_class)
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in types:
            raise unknown_name(f"key in {where}", name, types)
        try:
            values[name] = _converted(value, types[name])
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} in {where} is {value!r}; expected {_described(types[name])}"
            ) from error
    return values


def _converted(value: Any, kind: Any) -> Any:
    """Return a TOML value as a setting's type; raises TypeError or ValueError if it cannot be."""
    origin, options = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in options:
            return None
        for option in options:
            if option is not NoneType:
                with suppress(TypeError, ValueError):
                    return _converted(value, option)
        raise ValueError
    if origin is Literal:
        if value not in options:
            raise ValueError
        return value
    if origin is tuple:
        items = value if isinstance(value, list) else [value]
        return tuple(_converted(one, options[0]) for one in items)
    if kind is str:
        return value if isinstance(value, str) else json.dumps(value)
    if kind is bool or isinstance(value, bool):
        if kind is not bool or not isinstance(value, bool):
            raise TypeError
        return value
    if kind is int and isinstance(value, float):
        raise TypeError
    return kind(value)


def _described(kind: Any) -> str:
    origin, options = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_described(option) for option in options if option is not NoneType)
    if origin is Literal:
        return f"one of {', '.join(map(repr, options))}"
    if origin is tuple:
        return f"a list of {options[0].__name__}"
    return kind.__name__
