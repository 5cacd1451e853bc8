"""Specs, of questions, engines, generators and more: read from a command line, and rewritten."""

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
    """Read a flag that names questions, an engine, a generator or an agent.

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
    if role in ("questions", "engine") and any(
        text.endswith(end) for end in (".jsonl", ".jsonl.gz", ".parquet", ".json")
    ):
        if role == "questions":
            return {"kind": "file", "path": text}
        return {"kind": "bm25", "passages": text}
    return {"kind": text}


def held_out_questions(questions: Mapping[str, Any], eval_questions: str | None) -> dict[str, Any]:
    """Return the spec of the questions to evaluate on.

    Args:
        questions: spec of the training questions; a world has a held-out split.
        eval_questions: value of --eval-questions, which names other questions.

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
    """Return the data files that specs name, with what changes when a file does.

    Args:
        specs: JSON values, nested as engines in engines are.
    """
    found: dict[str, str] = {}

    def look(spec: Mapping[str, Any]) -> Mapping[str, Any]:
        named = spec.get(_FILE_FIELDS.get(str(spec.get("kind")), ""), ())
        for path in [named] if isinstance(named, str) else named:
            if Path(path).is_file():  # of one that is missing its engine tells
                found[str(path)] = file_fingerprint(Path(path))
        return spec

    rewritten(specs, look)
    return found


def rewritten(spec: Any, change: Callable[[Mapping[str, Any]], Any]) -> Any:
    """Return a spec with every mapping in it changed, the outer ones first.

    Args:
        spec: JSON values, nested as engines in engines are.
        change: gets a mapping and returns what stands in its place; where that is a mapping too,
            the mappings in it are changed next.
    """
    if isinstance(spec, Mapping):
        spec = change(spec)
    if isinstance(spec, Mapping):
        return {name: rewritten(value, change) for name, value in spec.items()}
    if isinstance(spec, list | tuple):
        return [rewritten(one, change) for one in spec]
    return spec
