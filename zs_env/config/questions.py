"""Questions from a spec; a module behind a kind is imported when that kind is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from zs_env.config.spec import Spec, as_spec, build_from_spec, check_files, check_spec
from zs_env.questions.question import QuestionDataset
from zs_env.text.numbers import as_int

WORLD: Spec = {"kind": "world", "seed": 0, "split": "train"}


def build_questions(spec: Spec | str) -> QuestionDataset:
    """Build questions from their spec, whose kind is one of `QUESTION_KINDS`.

    A text is read as on a command line; see `spec_from_text`.
    """
    return build_from_spec("question kind", QUESTION_KINDS, as_spec(spec, "questions"))


def check_questions_spec(spec: Spec | str) -> None:
    """Check kind, fields and files of a spec of questions without reading them.

    Raises:
        ValueError: if a kind or a field is unknown or missing.
        FileNotFoundError: if a file does not exist.
    """
    _, fields = check_spec("question kind", QUESTION_KINDS, as_spec(spec, "questions"))
    check_files("questions", fields.get("path"))
    if fields.get("of") is not None:
        check_questions_spec(fields["of"])


@lru_cache(maxsize=8)
def build_world(seed: int, split: str) -> Any:
    """Return the world of a seed and a split; equal arguments return the same object."""
    from zs_env.world import World

    return World(seed, split)  # type: ignore[arg-type]


def world_of(questions: QuestionDataset) -> Any:
    """Return the world that the questions are about; None for other questions."""
    from zs_env.world import WorldQuestions

    return questions.world if isinstance(questions, WorldQuestions) else None


def _world_questions(
    *, seed: int = 0, split: str = "train", structures: Any = None, questions_seed: int = 0
) -> QuestionDataset:
    from zs_env.world import WorldQuestions

    world = build_world(as_int("the seed of a world", seed), split)
    questions: Any = WorldQuestions(
        world, structures, seed=as_int("questions_seed", questions_seed)
    )
    return questions


def _file_questions(*, path: str | Path | Sequence[str | Path]) -> QuestionDataset:
    """Load one file, or several files whose questions alternate."""
    from zs_env.questions import load_questions_files

    paths: Any = path if isinstance(path, list | tuple) else [path]
    if wrong := [one for one in paths if not isinstance(one, str | Path)]:
        raise ValueError(
            f"got {wrong[0]!r} ({type(wrong[0]).__name__}) as a question file, expected a path as "
            "a string, or a list of paths"
        )
    return load_questions_files(paths)


def _subset_questions(*, of: Spec, ids: Sequence[str]) -> QuestionDataset:
    """Select the questions with these ids from another spec, in the order of the ids."""
    from zs_env.questions import questions_by_id

    return questions_by_id(build_questions(of), ids)


QUESTION_KINDS: dict[str, str | Callable[..., QuestionDataset]] = {
    "world": _world_questions,
    "file": _file_questions,
    "hub": "zs_env.questions.hub:load_hub_questions",
    "subset": _subset_questions,
}
