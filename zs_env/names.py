"""Unknown names answered with the nearest known ones."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


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
