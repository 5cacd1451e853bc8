"""The episodes that every trainer plays; for a peer's Python it takes gymnasium beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode

import envs_registry

NOISE = 0.2


def make_environment(job: Mapping[str, Any], prompt: str | None) -> Any:
    """A place for each episode of a step, in the fictional world.

    Args:
        job: "questions" and "group_size" of a step.
        prompt: template's name; None for the environment's own.
    """
    return gymnasium.make_vec(
        next(iter(envs_registry.PRESETS)),
        num_envs=job["questions"] * job["group_size"],
        vectorization_mode="vector_entry_point",
        autoreset_mode=AutoresetMode.DISABLED,
        limits={"max_document_chars": 2048},
        **({} if prompt is None else {"prompt": prompt}),
    )


def options_of(questions: Sequence[int]) -> dict[str, Any]:
    """Of `reset`: which question each episode asks; equal ones meet equal pages."""
    return {
        "question_index": list(questions),
        "group_seed": list(questions),
        "noise_probability": NOISE,
    }
