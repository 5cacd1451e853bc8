"""Questions and engines as command lines name them: JSON, a file, or a kind."""

from __future__ import annotations

import json
from typing import Any, Literal


def spec_from_text(
    text: str, *, role: Literal["questions", "engine"], flag: str | None = None
) -> dict[str, Any]:
    """Read a flag that names questions or an engine.

    A JSON object is taken as it is, a name of a data or passage file becomes a spec of that file,
    and any other word is a kind.

    Args:
        text: of the flag.
        role: what it names.
        flag: as errors call it; the role's own name where None.

    Raises:
        ValueError: if it begins like JSON and is none, or is no object with a "kind".
    """
    flag = flag or role
    if text.lstrip().startswith(("{", "[", '"')):
        try:
            spec = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"--{flag} is no valid JSON ({error}): {text}") from error
        if not isinstance(spec, dict) or "kind" not in spec:
            raise ValueError(f'--{flag} needs a JSON object with a "kind", got {text}')
        return spec
    if any(text.endswith(end) for end in (".jsonl", ".jsonl.gz", ".parquet", ".json")):
        if role == "questions":
            return {"kind": "file", "path": text}
        return {"kind": "bm25", "passages": text}
    return {"kind": text}
