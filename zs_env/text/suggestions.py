"""Checks of names from users; the error for an unknown name suggests the nearest known ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

Made = TypeVar("Made")


def unknown_name(what: str, name: object, known: Iterable[str]) -> ValueError:
    """Return the error for an unknown name of `what`, such as "engine kind"."""
    names = sorted(known)
    by_lower = {candidate.lower(): candidate for candidate in names}
    nearest = get_close_matches(str(name).lower(), by_lower, n=3, cutoff=0.5)
    hint = " or ".join(repr(by_lower[candidate]) for candidate in nearest)
    question = f" Did you mean {hint}?" if hint else ""
    return ValueError(f"unknown {what} {name!r}.{question} Known: {', '.join(names) or 'none'}")


def keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the keyword-only parameters of a function or class."""
    parameters = inspect.signature(function).parameters
    return {name: one for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}


def check_names(what: str, values: Iterable[str], known: Iterable[str]) -> None:
    """Raise ValueError for the first unknown name."""
    for name in values:
        if name not in known:
            raise unknown_name(what, name, known)


def make_named(what: str, make: Callable[..., Made], values: Mapping[str, Any] | None) -> Made:
    """Call `make` with keyword arguments (None: none).

    Raises:
        ValueError: if an argument is unknown or missing, or `values` is no mapping.
    """
    if values is not None and not isinstance(values, Mapping):
        raise ValueError(f"got {values!r}, expected an object with each {what} by name")
    values, known = values or {}, keywords(make)
    check_names(what, values, known)
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in values:
            raise ValueError(f"the {what} {name!r} is missing in {dict(values)!r}; add it")
    return make(**values)
