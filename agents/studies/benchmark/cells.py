"""The cells of a benchmark: each agent on each question set, once or several times.

A session plays them, and counts episodes and costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.agent_labels import agents_by_label
from agents.agent_registry import build_agent, fingerprint
from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.evaluate import evaluate
from agents.evaluation.evaluation_folder import TRANSCRIPTS_FILE
from agents.evaluation.progress import ProgressBar
from agents.evaluation.settings import adopt_settings
from agents.evaluation.summary import Report
from agents.storage.output_folder import folder_name
from agents.studies.benchmark.config import BenchmarkConfig
from agents.studies.benchmark.sample import Sample
from agents.studies.benchmark.scores import Result
from zs_env.config import make_env
from zs_env.metrics import F1Tokens
from zs_env.search.prices import PriceTable
from zs_env.search.types import SearchCost
from zs_env.transcripts.storage import read_transcripts

_ENV_ID = "ZeroSearch/File-v0"
# Episodes end in bursts, as batches of searches do, so the speed is averaged over ten minutes.
_SPEED_PERIOD_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One repeat (from 0) of an agent on a question set: an evaluation with its own folder."""

    agent: str
    set_name: str
    repeat: int = 0

    def __str__(self) -> str:
        repeat = f", repeat {self.repeat}" if self.repeat else ""
        return f"{self.agent} on {self.set_name}{repeat}"

    def folder(self, output: Path) -> Path:
        return output / "evaluations" / folder_name(self.agent) / self.set_name / str(self.repeat)

    def results(self, output: Path, *, f1_tokens: F1Tokens = "words") -> Iterator[Result]:
        """Score the transcripts of the evaluation."""
        transcripts = read_transcripts(self.folder(output) / TRANSCRIPTS_FILE)
        labels = {"agent": self.agent, "set": self.set_name, "repeat": self.repeat}
        for index, transcript in enumerate(transcripts):
            yield Result.from_transcript(index, transcript, f1_tokens=f1_tokens, **labels)


class BenchmarkSession(ProgressBar):
    """Counts episodes and costs over all cells; off a terminal it prints one line a cell."""

    def __init__(self, console: Console, total: int, prices: PriceTable) -> None:
        super().__init__(console, "", total=total, speed_period_s=_SPEED_PERIOD_S)
        self._num_episodes, self._prices = total, prices
        self._cell = ""
        self._note: str | None = None
        self._completed = self._played = self._failures = 0
        self._earlier_costs, self._cell_costs = Counter[str](), Counter[str]()

    def begin_cell(self, cell: str, note: str | None = None) -> None:
        """Show the name of the cell that is played next, and a note unless it was just shown."""
        if note and note != self._note:
            self.print(note)
        self._note = note
        self._cell = cell
        self.update(self._completed, self.summary(), description=cell)

    def start_cell(self, total: int, completed: int) -> None:
        """Count the episodes of the cell that an earlier session played."""
        self._completed += completed
        if completed:
            self.restart(self._completed, self.summary())
        if 0 < completed < total:
            self.print(
                f"{self._cell}: {completed} of {total} episodes were played before; "
                "playing the others"
            )

    def episode(self, result: EpisodeResult) -> None:
        """Count an episode that ended."""
        self._completed += 1
        self._played += 1
        self._failures += result.failure is not None
        self.update(self._completed, self.summary())

    def costs(self, costs: Mapping[str, float]) -> None:
        """Set the costs of the cell's searches so far."""
        self._cell_costs = Counter(costs)

    def end_cell(self, report: Report) -> None:
        """Add the costs of the cell to those of the session."""
        self._earlier_costs.update(self._cell_costs)
        self._cell_costs = Counter()
        if not self.console.is_terminal:
            exact_match = report.metrics["exact_match"]
            self.print(
                f"{self._completed}/{self._num_episodes}  {self._cell}: exact match {exact_match}"
            )

    @property
    def total_costs(self) -> SearchCost:
        """Costs of the searches of this session."""
        return SearchCost(**(self._earlier_costs + self._cell_costs))  # type: ignore[arg-type]

    def summary(self) -> str:
        """Return searches and dollars so far, and the expected dollars of the whole benchmark."""
        costs = self.total_costs
        dollars = self._prices.dollars(costs)
        parts = [f"{costs.searches:,} searches"]
        if dollars and self._played:
            expected = dollars * (1 + (self._num_episodes - self._completed) / self._played)
            parts.append(f"${dollars:.4f} of about ${expected:.4f}")
        if self._failures:
            parts.append(f"{self._failures} failures")
        return ", ".join(parts)


def play_cells(
    config: BenchmarkConfig,
    cells: Iterable[Cell],
    sets: Mapping[str, Mapping[str, Any]],
    samples: Mapping[str, Sample],
    output: Path,
    session: BenchmarkSession,
) -> None:
    """Play the episodes that the output folder does not contain yet.

    Only one agent is loaded at a time, since it may need most of the memory: the cells of an agent
    and a repeat follow each other. `sets` are the specs of the questions by the names of the sets.

    Raises:
        ValueError: if the folder contains episodes of another setting or of a changed agent, or a
            prompt is too long.
    """
    names = agents_by_label(config.agents)
    for (label, repeat), group in groupby(cells, lambda cell: (cell.agent, cell.repeat)):
        name, seed = names[label], config.seed + repeat
        agent = build_agent(name, temperature=config.temperature, seed=seed)
        settings = {}
        for cell in group:
            ids = list(samples[cell.set_name].ids)
            questions = {"kind": "subset", "of": sets[cell.set_name], "ids": ids}
            env_kwargs = {**config.env_kwargs(), "questions": questions}
            settings[cell] = adopt_settings(agent, env_kwargs, env_id=_ENV_ID)
            if repeat == 0:  # an overlong prompt is an error before the first episode
                make_env(**{**settings[cell][0], "engine": {"kind": "none"}}).close()
        for cell, (env_kwargs, adopted) in settings.items():
            session.begin_cell(str(cell), adopted)
            report = evaluate(
                agent,
                _ENV_ID,
                episodes=len(samples[cell.set_name].ids),
                seed=seed,
                noise=config.noise,
                env_kwargs=env_kwargs,
                concurrency=config.concurrency,
                output=cell.folder(output),
                agent_name=name,
                agent_label=label,
                fingerprint=fingerprint(agent),
                on_start=session.start_cell,
                on_episode=session.episode,
                on_costs=session.costs,
            )
            session.end_cell(report)
