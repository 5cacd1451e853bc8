"""The cells of a benchmark: each agent on each question set, once or several times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

from agents.agent_registry import build_agent, fingerprint
from agents.evaluation.evaluate import evaluate
from agents.evaluation.record import TRANSCRIPTS_FILE
from agents.storage.output_folder import folder_name
from agents.studies.benchmark.config import BenchmarkConfig
from agents.studies.benchmark.sample import Sample
from agents.studies.benchmark.scores import Result
from agents.studies.benchmark.session import BenchmarkSession
from zs_env.metrics import F1Tokens
from zs_env.transcripts.storage import read_transcripts

_ENV_ID = "ZeroSearch/File-v0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One repeat of an agent on a question set: an evaluation with its own folder.

    Attributes:
        agent: label of the agent in tables.
        set_name: name of the question set.
        repeat: from 0.
    """

    agent: str
    set_name: str
    repeat: int = 0

    def __str__(self) -> str:
        repeat = f", repeat {self.repeat}" if self.repeat else ""
        return f"{self.agent} on {self.set_name}{repeat}"

    def folder(self, output: Path) -> Path:
        """Return the folder of the evaluation."""
        return output / "evaluations" / folder_name(self.agent) / self.set_name / str(self.repeat)

    def results(self, output: Path, *, f1_tokens: F1Tokens = "words") -> Iterator[Result]:
        """Score the transcripts of the evaluation."""
        transcripts = read_transcripts(self.folder(output) / TRANSCRIPTS_FILE)
        labels = {"agent": self.agent, "set": self.set_name, "repeat": self.repeat}
        for index, transcript in enumerate(transcripts):
            yield Result.from_transcript(index, transcript, f1_tokens=f1_tokens, **labels)


def list_cells(config: BenchmarkConfig, sets: Iterable[str]) -> list[Cell]:
    """Return all cells, in the order in which they are played."""
    return [
        Cell(agent=agent, set_name=name, repeat=repeat)
        for agent, repeat, name in product(config.named_agents(), range(config.repeats), sets)
    ]


def play_cells(
    config: BenchmarkConfig,
    cells: Iterable[Cell],
    sets: Mapping[str, Mapping[str, Any]],
    samples: Mapping[str, Sample],
    output: Path,
    session: BenchmarkSession,
) -> None:
    """Play the episodes that the output folder does not contain yet.

    Only one agent is loaded at a time, since it may need most of the memory.

    Args:
        config: of the benchmark.
        cells: the cells of an agent and a repeat follow each other.
        sets: specs of the questions by the names of the sets.
        samples: by the names of the sets.
        output: folder of the benchmark.
        session: counts episodes and costs.

    Raises:
        ValueError: if the folder contains episodes of another setting or of a changed agent.
    """
    for (label, repeat), group in groupby(cells, lambda cell: (cell.agent, cell.repeat)):
        name, seed = config.named_agents()[label], config.seed + repeat
        agent = build_agent(name, temperature=config.temperature, seed=seed)
        for cell in group:
            ids = list(samples[cell.set_name].ids)
            questions = {"kind": "subset", "of": sets[cell.set_name], "ids": ids}
            env_kwargs = {**config.env_kwargs(), "questions": questions}
            if config.prompt is None and (prompt := getattr(agent, "prompt", None)) is not None:
                env_kwargs["prompt"] = prompt
            session.begin_cell(str(cell))
            report = evaluate(
                agent,
                _ENV_ID,
                episodes=len(ids),
                seed=seed,
                noise=config.noise,
                env_kwargs=env_kwargs,
                concurrency=config.concurrency,
                output=cell.folder(output),
                agent_name=name,
                fingerprint=fingerprint(agent),
                on_start=session.start_cell,
                on_episode=session.episode,
                on_costs=session.costs,
            )
            session.end_cell(report)
