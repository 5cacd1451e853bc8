"""Evaluates agents at several noise levels, with the same questions and seeds at each level.

Whether a search is noisy is decided by comparing a number, derived from episode and query, with the
noise probability. A query whose page is noisy at one level is therefore noisy at every higher one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.agent import Agent
from agents.agent_registry import build_agent, fingerprint
from agents.evaluation.evaluate import evaluate
from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.progress import ProgressBar, print_plain
from agents.evaluation.settings import adopt_settings
from agents.evaluation.statistics import Interval
from agents.evaluation.summary import Report, observed_noise
from agents.specs import by_content
from agents.storage.output_folder import ensure_settings, folder_name
from zs_env.text.paths import local_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The evaluation of one agent at one noise level."""

    agent: str
    noise: float
    report: Report
    evaluation: EvaluationFolder

    def observed_noise(self) -> Interval:
        """Return the share of noisy documents, see `agents.evaluation.summary.observed_noise`."""
        return observed_noise(self.evaluation.results)


def run_sweep(
    agents: Mapping[str, str | Callable[[], Agent]],
    noises: Sequence[float],
    output: str | Path,
    *,
    env_id: str = "ZeroSearch-v0",
    env_kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
    fresh: bool = False,
    console: Console | None = None,
    **settings: Any,
) -> list[Cell]:
    """Evaluate every agent at every noise level, one agent after the other.

    Episodes that the folder contains already are not played again. Agents, noise levels and
    episodes can be added to a finished sweep.

    Args:
        agents: names, as for `build_agent`, or constructors, by label. They are built one at a
            time, so that only one language model is in memory.
        noises: two or more different probabilities in [0, 1].
        output: folder of the cells.
        env_id: an environment with the reset option `noise_probability`.
        env_kwargs: arguments of the environment, JSON values.
        seed: of every random choice.
        fresh: delete the episodes in the folder first.
        console: where progress is shown.
        settings: further arguments of `agents.evaluation.evaluate`: episodes, concurrency.

    Raises:
        ValueError: if a noise level is invalid, the engine does not support noise, or the folder
            contains another sweep.
    """
    if len(noises) < 2 or len(set(noises)) != len(noises):
        raise ValueError(f"a sweep needs two or more different noise levels, got {list(noises)}")
    for noise in noises:
        if not 0.0 <= noise <= 1.0:
            raise ValueError(f"a noise level is a probability in [0, 1], got {noise}")
    output, env_kwargs = local_path(output), env_kwargs or {}
    console = console or Console(quiet=True)
    shared = {"env": env_id, "env_kwargs": by_content(env_kwargs), "seed": seed}
    existing = sorted((output / "cells").glob("*/*/*.jsonl"))
    ensure_settings(output / "sweep.json", shared, what="sweep", files=existing, fresh=fresh)
    cells = []
    for label, build in agents.items():
        name, agent = (build, build_agent(build)) if isinstance(build, str) else (label, build())
        own_kwargs, adopted = adopt_settings(agent, env_kwargs, env_id=env_id)
        if adopted:
            print_plain(console, adopted)
        own_cells = [
            play_cell(
                agent,
                cell_folder(output, label, noise),
                f"{label}, noise {noise:g}",
                env_id=env_id,
                noise=noise,
                seed=seed,
                env_kwargs=own_kwargs,
                agent_name=name,
                agent_label=label,
                console=console,
                **settings,
            )
            # The highest level first: an engine that does not support noise is refused at once.
            for noise in sorted(noises, reverse=True)
        ]
        cells += reversed(own_cells)
    return cells


def play_cell(
    agent: Agent,
    folder: Path,
    description: str,
    *,
    noise: float,
    agent_label: str,
    console: Console,
    **settings: Any,
) -> Cell:
    """Evaluate an agent at a noise level; episodes that the folder contains are not played again.

    Args:
        agent: the agent.
        folder: of the evaluation.
        description: of the cell, for its progress.
        noise: noise probability of a search.
        agent_label: label of the agent.
        console: where progress is shown.
        settings: further arguments of `agents.evaluation.evaluate`.
    """
    with ProgressBar(console, description) as bar:
        report = evaluate(
            agent,
            noise=noise,
            output=folder,
            agent_label=agent_label,
            fingerprint=fingerprint(agent),
            on_start=bar.start,
            on_episode=bar.episode,
            **settings,
        )
        bar.print(f"{description}: f1 {report.metrics['f1']}")
    evaluation = EvaluationFolder.read(folder, episodes=report.num_episodes)
    return Cell(agent=agent_label, noise=noise, report=report, evaluation=evaluation)


def cell_folder(output: Path, agent: str, noise: float) -> Path:
    """Return the folder of one cell; agents with different labels have different folders."""
    return output / "cells" / folder_name(agent) / f"noise-{noise!r}"
