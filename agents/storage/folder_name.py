"""Folder names for agents."""

from __future__ import annotations

import re
from hashlib import blake2b

_MAX_CHARACTERS = 60


def folder_name(agent: str) -> str:
    """Return a valid folder name for an agent's name; different names give different folders."""
    plain = re.sub(r"[^\w.-]+", "-", agent).strip("-.")
    if plain == agent and len(plain) <= _MAX_CHARACTERS:
        return agent
    return f"{plain[-_MAX_CHARACTERS:]}-{blake2b(agent.encode(), digest_size=4).hexdigest()}"
