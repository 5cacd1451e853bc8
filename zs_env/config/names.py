"""Values by name; an unknown name is answered with the nearest known ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

Made = TypeVar("Made")


def unknown_name(what: str, name: object, known: Iterable[str]) -> ValueError:
    """Return the error that says what was got, what comes nearest, and what there is.

    Args:
        what: the kind of thing that was looked up, such as "engine kind".
        name: what was asked for.
        known: the names there are.
    """
    names = sorted(known)
    by_lower = {candidate.lower(): candidate for candidate in names}
    nearest = get_close_matches(str(name).lower(), by_lower, n=3, cutoff=0.5)
    hint = " or ".join(repr(by_lower[candidate]) for candidate in nearest)
    question = f" Did you mean {hint}?" if hint else ""
    return ValueError(f"unknown {what} {name!r}.{question} Known: {', '.join(names)}")


def keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters that a function or a class takes by keyword only."""
    parameters = inspect.signature(function).parameters
    return {name: one for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}


def check_names(what: str, values: Iterable[str], function: Callable[..., Any]) -> None:
    """Refuse names that a function does not take as keywords.

    Raises:
        ValueError: if there is one.
    """
    known = keywords(function)
    for name in values:
        if name not in known:
            raise unknown_name(what, name, known)


def make_named(what: str, make: Callable[..., Made], values: Mapping[str, Any] | None) -> Made:
    """Call `make` with values by name; None stands for no values.

    Raises:
        ValueError: if a name is not one of its keywords.
    """
    check_names(what, values or {}, make)
    return make(**values or {})
