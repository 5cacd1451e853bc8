"""Agents at noise levels, on the same questions with the same luck, each cell an evaluation.

A search's kind is drawn by comparing one number, which follows from episode and query, with the
chance of noise: a query whose page is noisy at one level finds noise at every higher one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.agent import Agent
from agents.agent_registry import fingerprint
from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.evaluate import DEFAULT_CONCURRENCY, evaluate
from agents.evaluation.progress import EpisodeBar
from agents.evaluation.record import RESULTS_FILE, read_results
from agents.evaluation.statistics import Interval, bootstrap_ratio
from agents.evaluation.summary import Report
from agents.specs import data_files
from agents.storage.folder_name import folder_name
from agents.storage.settings_file import keep_setting

SETTING_FILE = "sweep.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSetting:
    """What all cells of a sweep share.

    Attributes:
        env_id: environment that knows the option `noise_probability`.
        env_kwargs: passed to it, JSON values.
        episodes: questions of each cell.
        seed: of every draw.
        concurrency: episodes played at once; changes no figure.
    """

    env_id: str = "ZeroSearch-v0"
    env_kwargs: Mapping[str, Any]
    episodes: int = 200
    seed: int = 0
    concurrency: int = DEFAULT_CONCURRENCY


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One agent at one noise level.

    Attributes:
        agent: its name.
        noise: chance that a search returns noise, as asked.
        report: figures of the evaluation, the noise that came among them.
        results: entry i is question i.
    """

    agent: str
    noise: float
    report: Report
    results: tuple[EpisodeResult, ...]

    def noise_that_came(self) -> Interval:
        """Share of all documents that were asked to be noise.

        Not the mean of the episodes' shares, as reports have it: an agent that repeats a search
        until it is answered sees that mean fall below the chance of noise, but not this share.
        """
        sound = [result for result in self.results if result.failure is None]
        return bootstrap_ratio(
            [result.noisy_documents for result in sound], [result.documents for result in sound]
        )


def run_sweep(
    agents: Mapping[str, Callable[[], Agent]],
    noises: Sequence[float],
    setting: SweepSetting,
    output: str | Path,
    *,
    console: Console | None = None,
) -> list[Cell]:
    """Play every agent at every noise level, agent by agent.

    What a folder holds already is not played again: a killed sweep goes on, and agents, noise
    levels and episodes can be added to a finished one.

    Args:
        agents: what builds each, by name; called when its turn comes, so that only one language
            model is in memory.
        noises: chances in [0, 1], each once.
        setting: of all cells.
        output: folder of the cells.
        console: where progress is shown.

    Raises:
        ValueError: if a noise level is wrong, or the folder holds another sweep.
    """
    check_noises(noises)
    output, console = Path(output), console or Console(quiet=True)
    shared = {
        "env": setting.env_id,
        "env_kwargs": setting.env_kwargs,
        "seed": setting.seed,
        "files": data_files(setting.env_kwargs),
    }
    played = sorted((output / "cells").glob(f"*/*/{RESULTS_FILE}"))
    keep_setting(output / SETTING_FILE, shared, what="sweep", played=played)
    cells = []
    for name, build in agents.items():
        agent = build()
        for noise in sorted(noises):
            with EpisodeBar(console, f"{name}, noise {noise:g}") as bar:
                cells.append(_play(name, agent, noise, setting, output, bar))
            f1 = cells[-1].report.metrics["f1"]
            console.print(f"{name}, noise {noise:g}: f1 {f1}", highlight=False, markup=False)
    return cells


def check_noises(noises: Sequence[float]) -> None:
    """Refuse noise levels that no curve can be drawn through.

    Raises:
        ValueError: if there are fewer than two, one comes twice, or is no probability.
    """
    if len(noises) < 2 or len(set(noises)) != len(noises):
        raise ValueError(f"a sweep needs two or more different noise levels, got {list(noises)}")
    for noise in noises:
        if not (math.isfinite(noise) and 0.0 <= noise <= 1.0):
            raise ValueError(f"a noise level is a probability in [0, 1], got {noise}")


def cell_folder(output: Path, agent: str, noise: float) -> Path:
    """Return the folder of one cell; agents of different names never share one."""
    return output / "cells" / folder_name(agent) / f"noise-{noise!r}"


def _play(
    name: str, agent: Agent, noise: float, setting: SweepSetting, output: Path, bar: EpisodeBar
) -> Cell:
    env_kwargs = dict(setting.env_kwargs)
    own_prompt = getattr(agent, "prompt", None)
    if own_prompt is not None:
        env_kwargs.setdefault("prompt", own_prompt)
    folder = cell_folder(output, name, noise)
    report = evaluate(
        agent,
        setting.env_id,
        episodes=setting.episodes,
        seed=setting.seed,
        noise=noise,
        env_kwargs=env_kwargs,
        concurrency=setting.concurrency,
        output=folder,
        agent_name=name,
        fingerprint=fingerprint(agent),
        on_start=bar.start,
        on_episode=bar.episode,
    )
    results = tuple(read_results(folder)[: report.num_episodes])
    return Cell(agent=name, noise=noise, report=report, results=results)
