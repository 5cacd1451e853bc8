"""What tells the pages of one engine from those of another in a cache."""

from __future__ import annotations

from zs_env.search import SearchEngine


def engine_fingerprint(engine: SearchEngine) -> str:
    """Return the engine's own `fingerprint`, or where it has none the name of its class.

    A class whose settings change its pages needs a fingerprint of its own: its name does not tell
    them apart.
    """
    own = getattr(engine, "fingerprint", None)
    return own or f"{type(engine).__module__}.{type(engine).__qualname__}"
