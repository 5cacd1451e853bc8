"""What the folder of an agent's evaluations is called."""

from __future__ import annotations

import re
from hashlib import blake2b

_MAX_CHARACTERS = 60


def folder_name(agent: str) -> str:
    """Return an agent's name as a folder may be called; other names give other folders."""
    plain = re.sub(r"[^\w.-]+", "-", agent).strip("-.")
    if plain == agent and len(plain) <= _MAX_CHARACTERS:
        return agent
    return f"{plain[-_MAX_CHARACTERS:]}-{blake2b(agent.encode(), digest_size=4).hexdigest()}"
