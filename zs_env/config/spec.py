"""Specs: JSON objects with a `kind`, which names a row of a table, and the fields of that kind."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from zs_env.text.paths import local_path
from zs_env.text.suggestions import check_names, unknown_name

Spec = Mapping[str, Any]
Role = Literal["questions", "engine", "generator", "agent"]
_DATA_FILES = (".jsonl", ".jsonl.gz", ".parquet", ".json")


def build_from_spec(
    what: str,
    table: Mapping[str, str | Callable[..., Any]],
    spec: Spec,
    *context: Any,
    converters: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Any:
    """Call the row of a spec's kind with the spec's fields.

    Args:
        what: what the kinds are, for error messages, such as "engine kind".
        table: by kind, a class or function as "module:name", or a function whose first arguments
            are `context`.
        spec: kind and fields.
        context: first arguments of a function.
        converters: applied to the fields of a "module:name", by the name of the field.

    Raises:
        ValueError: if the kind is missing or unknown, or a field is missing or unknown.
    """
    build, fields = check_spec(what, table, spec, *context)
    if not isinstance(table[spec["kind"]], str):
        return build(*context, **fields)
    for name, convert in (converters or {}).items():
        if fields.get(name) is not None:
            fields[name] = convert(fields[name])
    return build(**fields)


def check_spec(
    what: str, table: Mapping[str, str | Callable[..., Any]], spec: Spec, *context: Any
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Check the kind of a spec and the names of its fields; see `build_from_spec`.

    Returns:
        The row of the kind, imported, and the fields.
    """
    if not isinstance(spec, Mapping):
        raise ValueError(
            f"got {spec!r} as {what.removesuffix(' kind')}, expected a spec: a JSON object with a "
            f"'kind', one of {sorted(table)}"
        )
    if "kind" not in spec:
        raise ValueError(f"a spec needs a 'kind', one of {sorted(table)}; got {dict(spec)!r}")
    kind = spec["kind"]
    if not isinstance(kind, str) or kind not in table:
        if isinstance(kind, str):
            _check_is_no_path(what, kind)
        raise unknown_name(what, kind, table)
    build = table[kind]
    if isinstance(build, str):
        module, _, name = build.partition(":")
        build, context = getattr(import_module(module), name), ()
    fields = {name: value for name, value in spec.items() if name != "kind"}
    parameters = dict(islice(inspect.signature(build).parameters.items(), len(context), None))
    check_names(f"field of {what} {kind!r}:", fields, parameters)
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and fields.get(name) is None:
            message = f"{what} {kind!r} needs {name!r}, got {dict(spec)!r}"
            if (what, kind) == ("question kind", "file"):
                message += "; pass --questions FILE, or questions=FILE to gymnasium.make"
            raise ValueError(message)
    return build, fields


def _check_is_no_path(what: str, kind: str) -> None:
    """Raise ValueError with the fix if an unknown kind is the name of a folder or of a file."""
    path = local_path(kind)
    if path.is_dir() and what == "question kind":
        raise ValueError(
            f"{kind!r} is a folder and no {what}; pass a file of questions, or several files as "
            '{"kind": "file", "path": [FILE, ...]}'
        )
    if path.is_dir():
        raise ValueError(f"{kind!r} is a folder and no {what}; write ./{kind} for its files")
    fields = {"question kind": ("file", "path"), "engine kind": ("bm25", "passages")}
    if path.is_file() and what in fields:
        name, field = fields[what]
        raise ValueError(
            f"{kind!r} is a file whose name ends in none of {', '.join(_DATA_FILES)}; rename it, "
            f"or write {json.dumps({'kind': name, field: kind})}"
        )


def check_files(what: str, paths: Any) -> None:
    """Check the files that a spec names: None, a path, or a list of paths.

    Raises:
        ValueError: if the value is something else.
        FileNotFoundError: if a file does not exist.
    """
    listed = paths if isinstance(paths, list | tuple) else [paths] if paths else []
    for path in listed:
        if not isinstance(path, str | os.PathLike):
            raise ValueError(
                f"got {path!r} ({type(path).__name__}) as the file of {what}, expected a path as "
                "a string"
            )
        if not Path(path).expanduser().exists():
            raise FileNotFoundError(f"there is no file {path} of {what}; check the path")


def import_named(what: str, text: str) -> Any:
    """Import the `name` of a text "module:name"; the module may be in the working directory.

    Raises:
        ValueError: if there is no such module, or no such name in it.
    """
    module_name, _, name = text.partition(":")
    module = import_local(what, text, module_name)
    if not hasattr(module, name):
        raise unknown_name(f"{what} in module {module_name}", name, vars(module))
    return getattr(module, name)


def import_local(what: str, text: str, module_name: str) -> Any:
    """Import the module that a text names; it may be in the working directory.

    Raises:
        ValueError: if there is no such module.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")  # as with `python -m`
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise ValueError(
            f"{what} {text!r}: module {module_name!r} is neither in this folder nor installed"
        ) from error


def spec_from_text(text: str, *, role: Role, name: str | None = None) -> dict[str, Any]:
    """Read a text that specifies questions, an engine, a generator or an agent.

    A JSON object is the spec itself, the name of a data or passage file becomes a spec of that
    file, and any other word is a kind. Command lines and `gymnasium.make` read text in this way.

    Args:
        text: the text.
        role: what it specifies.
        name: name of the argument in errors; the flag of the role by default.

    Raises:
        ValueError: if the text begins like JSON but is invalid, or is not an object with "kind".
    """
    name = name or f"--{role}"
    if text.lstrip().startswith(("{", "[", '"')):
        try:
            spec = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name} is not valid JSON ({error}): {text}") from error
        if not isinstance(spec, dict) or "kind" not in spec:
            raise ValueError(f'{name} needs a JSON object with a "kind", got {text}')
        return spec
    if text.endswith(_DATA_FILES):
        if role == "questions":
            return {"kind": "file", "path": text}
        if role == "engine":
            return {"kind": "bm25", "passages": text}
    if role == "engine" and local_path(text).is_dir() and ("/" in text or text.startswith(".")):
        return {"kind": "bm25", "passages": text}
    return {"kind": text}


def as_spec(value: Any, role: Role) -> Any:
    """Return the spec that a text or a path stands for; any other value unchanged."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return spec_from_text(value, role=role, name=role) if isinstance(value, str) else value
