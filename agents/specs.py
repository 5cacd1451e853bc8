"""Reads specs of questions, engines, generators and agents from a command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from zs_env.engines.retrieval.passage_file import file_fingerprint

_FILE_FIELDS = {"file": "path", "bm25": "passages", "dense": "passages"}  # by kind


def spec_from_text(
    text: str,
    *,
    role: Literal["questions", "engine", "generator", "agent"],
    flag: str | None = None,
) -> dict[str, Any]:
    """Read the value of a flag that specifies `role`; errors name `flag`, by default the role.

    A JSON object is the spec itself, the name of a data or passage file becomes a spec of that
    file, and any other word is a kind.

    Raises:
        ValueError: if the text begins like JSON but is invalid, or is not an object with "kind".
    """
    flag = flag or role
    if text.lstrip().startswith(("{", "[", '"')):
        try:
            spec = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"--{flag} is not valid JSON ({error}): {text}") from error
        if not isinstance(spec, dict) or "kind" not in spec:
            raise ValueError(f'--{flag} needs a JSON object with a "kind", got {text}')
        return spec
    if text.endswith((".jsonl", ".jsonl.gz", ".parquet", ".json")):
        if role == "questions":
            return {"kind": "file", "path": text}
        if role == "engine":
            return {"kind": "bm25", "passages": text}
    return {"kind": text}


def held_out_questions(questions: Mapping[str, Any], eval_questions: str | None) -> dict[str, Any]:
    """Return the spec of the questions to evaluate on.

    These are `eval_questions`, the value of --eval-questions, or the held-out split of a world of
    training questions.

    Raises:
        ValueError: if there are none.
    """
    if eval_questions is not None:
        return spec_from_text(eval_questions, role="questions", flag="eval-questions")
    if questions["kind"] != "world":
        raise ValueError(
            f"questions of kind {questions['kind']!r} have no held-out split; name the questions "
            "to evaluate on with --eval-questions"
        )
    return {**questions, "split": "heldout"}


def data_files(specs: Any) -> dict[str, str]:
    """Return the fingerprints of the data files that specs name, by path."""
    found: dict[str, str] = {}

    def collect(spec: Mapping[str, Any]) -> Mapping[str, Any]:
        named = spec.get(_FILE_FIELDS.get(str(spec.get("kind")), ""), ())
        for path in [named] if isinstance(named, str) else named:
            if Path(path).is_file():  # the engine reports a missing file
                found[str(path)] = file_fingerprint(Path(path))
        return spec

    rewritten(specs, collect)
    return found


def rewritten(spec: Any, change: Callable[[Mapping[str, Any]], Any]) -> Any:
    """Return a spec in which every mapping is replaced by `change` of it, outer mappings first.

    If a replacement is a mapping too, the mappings inside it are replaced next.
    """
    if isinstance(spec, Mapping):
        spec = change(spec)
    if isinstance(spec, Mapping):
        return {name: rewritten(value, change) for name, value in spec.items()}
    if isinstance(spec, list | tuple):
        return [rewritten(one, change) for one in spec]
    return spec
