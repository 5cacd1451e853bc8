"""Plays the robustness suite: agents, question sets, kinds and levels of noise.

All agents have the same questions and seeds. Without noise the kinds do not differ, so level 0 is
played once and belongs to every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.agent import Agent
from agents.agent_registry import build_agent
from agents.evaluation.progress import print_plain
from agents.evaluation.settings import adopt_settings
from agents.specs import by_content
from agents.storage.output_folder import ensure_settings, folder_name
from agents.studies.noise.sweep import Cell, play_cell
from agents.studies.robustness.spec import QuestionSet, RobustnessSpec, with_abstention
from zs_env.noise import NoiseKind
from zs_env.text.paths import local_path

_ENV_ID = "ZeroSearch-v0"


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessCell(Cell):
    """The evaluation of one agent on one question set, with one kind and level of noise."""

    set: QuestionSet
    kind: NoiseKind


def run_robustness(
    agents: Mapping[str, str | Callable[[], Agent]],
    sets: Sequence[QuestionSet],
    output: str | Path,
    *,
    spec: RobustnessSpec,
    allow_abstain: bool = False,
    fresh: bool = False,
    console: Console | None = None,
    **settings: Any,
) -> list[RobustnessCell]:
    """Play the suite, one agent after the other.

    Episodes that the folder contains already are not played again. Agents, sets and questions can
    be added to it.

    Args:
        agents: names, as for `build_agent`, or constructors, by label.
        sets: the question sets; each name stands for the same questions in all calls.
        output: folder of the episodes.
        spec: the version of the suite.
        allow_abstain: add a line to the prompts that allows the answer "unknown".
        fresh: delete the episodes in the folder first.
        console: where progress is shown.
        settings: further arguments of `agents.evaluation.evaluate`, such as concurrency.

    Raises:
        ValueError: if the folder contains another version, other questions under one of the names,
            or an agent with one of the labels that differs.
    """
    output, console = local_path(output), console or Console(quiet=True)
    shared = {**spec.to_json(), "allow_abstain": allow_abstain}
    existing = sorted((output / "evaluations").glob("*/*/*/*.jsonl"))
    path = output / "robustness.json"
    ensure_settings(path, shared, what="robustness suite", files=existing, fresh=fresh)
    for one in sets:  # before the first agent is loaded
        folder = output / "evaluations" / one.name
        ensure_settings(
            folder / "set.json",
            {"env_kwargs": by_content(one.env_kwargs)},
            what=f"set {one.name!r}",
            files=sorted(folder.glob("*/*/*.jsonl")),
            fresh=fresh,
        )
    cells: list[RobustnessCell] = []
    for label, build in agents.items():
        name, agent = (build, build_agent(build)) if isinstance(build, str) else (label, build())
        for one in sets:
            own_kwargs, adopted = adopt_settings(agent, one.env_kwargs, env_id=_ENV_ID)
            if adopted and one is sets[0]:
                print_plain(console, adopted)
            if allow_abstain:
                own_kwargs["prompt"] = with_abstention(own_kwargs.get("prompt"))
            for kind, noise in _conditions(spec):
                where = "no noise" if noise == 0.0 else f"{kind} {noise:g}"
                cell = play_cell(
                    agent,
                    evaluation_folder(output, label, one.name, kind, noise),
                    f"{label}, {one.name}, {where}",
                    env_id=_ENV_ID,
                    env_kwargs={**own_kwargs, "noise_kinds": {kind: 1.0}} if noise else own_kwargs,
                    noise=noise,
                    seed=spec.seed,
                    episodes=one.episodes,
                    agent_name=name,
                    agent_label=label,
                    console=console,
                    **settings,
                )
                shown = {field.name: getattr(cell, field.name) for field in fields(cell)}
                kinds = (kind,) if noise else spec.kinds
                cells += [RobustnessCell(**shown, set=one, kind=each) for each in kinds]
    return cells


def _conditions(spec: RobustnessSpec) -> Iterator[tuple[NoiseKind, float]]:
    yield spec.kinds[0], 0.0
    for kind in spec.kinds:
        for noise in spec.levels[1:]:
            yield kind, noise


def evaluation_folder(
    output: Path, agent: str, set_name: str, kind: NoiseKind, noise: float
) -> Path:
    """Return the folder of one evaluation."""
    condition = f"{kind}-{noise!r}" if noise else "no-noise"
    return output / "evaluations" / set_name / folder_name(agent) / condition
