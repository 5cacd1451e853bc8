"""Reads specs of questions, engines, generators and agents from a command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zs_env.config.spec import spec_from_text
from zs_env.engines.retrieval.passage_file import file_fingerprint

_FILE_FIELDS = {"file": "path", "bm25": "passages", "dense": "passages"}  # by kind


def held_out_questions(questions: Mapping[str, Any], eval_questions: str | None) -> dict[str, Any]:
    """Return the spec of the questions to evaluate on.

    These are `eval_questions`, the value of --eval-questions, or the held-out split of a world of
    training questions.

    Raises:
        ValueError: if there are none.
    """
    if eval_questions is not None:
        return spec_from_text(eval_questions, role="questions", name="--eval-questions")
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
