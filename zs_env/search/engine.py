"""What an engine or a generator may have beside its one method, and what holds where it has not."""

from __future__ import annotations

from typing import Any


def fingerprint_of(engine: Any) -> str:
    """Return the engine's own `fingerprint`, or where it has none the name of its class.

    A class whose settings change its pages needs a fingerprint of its own: its name does not tell
    them apart.
    """
    own = getattr(engine, "fingerprint", None)
    return own or f"{type(engine).__module__}.{type(engine).__qualname__}"


def is_local(engine: Any) -> bool:
    """Whether it says with `local` that it only computes, and so cannot hang."""
    return bool(getattr(engine, "local", False))


def sees_only_queries(engine: Any) -> bool:
    """Whether it says with `by_query` that nothing else of a request decides its page."""
    return bool(getattr(engine, "by_query", False))


def is_scheduled(engine: Any) -> bool:
    """Whether it says with `scheduled` that its pages depend on the training step."""
    return bool(getattr(engine, "scheduled", False))


def at_step(engine: Any, step: int) -> None:
    """Tell it the training step, where that matters to it."""
    if is_scheduled(engine):
        engine.at_step(step)


def close(engine: Any) -> None:
    """Close it where it can be closed."""
    method = getattr(engine, "close", None)
    if callable(method):
        method()
