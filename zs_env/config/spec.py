"""Specs: JSON objects with a `kind`, which names a row of a table, and the fields of that kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zs_env.text.suggestions import check_names, keywords, unknown_name

Spec = Mapping[str, Any]


def build_from_spec(
    what: str, table: Mapping[str, Callable[..., Any]], spec: Spec, *context: Any
) -> Any:
    """Call the function in the row of a spec's kind with the spec's fields.

    Args:
        what: what the kinds are, for error messages, such as "engine kind".
        table: functions by kind; their keyword-only parameters are the fields.
        spec: kind and fields.
        context: positional arguments of the function.

    Raises:
        ValueError: if the kind is missing or unknown, or a field is missing or unknown.
    """
    if "kind" not in spec:
        raise ValueError(f"a spec needs a 'kind', one of {sorted(table)}; got {dict(spec)!r}")
    kind = spec["kind"]
    if kind not in table:
        raise unknown_name(what, kind, table)
    fields = {name: value for name, value in spec.items() if name != "kind"}
    parameters = keywords(table[kind])
    check_names(f"field of {what} {kind!r}", fields, parameters)
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and fields.get(name) is None:
            raise ValueError(f"{what} {kind!r} needs {name!r}, got {dict(spec)!r}")
    return table[kind](*context, **fields)
