"""The cells of a benchmark: each agent on each question set, once or several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from agents.agent_registry import build_agent, fingerprint
from agents.evaluation.evaluate import evaluate
from agents.storage.output_folder import folder_name
from agents.studies.benchmark.config import BenchmarkConfig
from agents.studies.benchmark.question_set import QuestionSet
from agents.studies.benchmark.sample import Sample
from agents.studies.benchmark.session import BenchmarkSession

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


def list_cells(config: BenchmarkConfig, sets: Sequence[QuestionSet]) -> list[Cell]:
    """Return all cells, in the order in which they are played."""
    return [
        Cell(agent=agent, set_name=one.name, repeat=repeat)
        for agent, repeat, one in product(config.named_agents(), range(config.repeats), sets)
    ]


def play_cells(
    config: BenchmarkConfig,
    sets: Sequence[QuestionSet],
    samples: Mapping[str, Sample],
    output: Path,
    session: BenchmarkSession,
) -> None:
    """Play the episodes that the output folder does not contain yet.

    Only one agent is loaded at a time, since it may need most of the memory.

    Raises:
        ValueError: if the folder contains episodes of another setting or of a changed agent.
    """
    agents = config.named_agents().items()
    for (label, name), repeat in product(agents, range(config.repeats)):
        agent = build_agent(name, temperature=config.temperature, seed=config.seed + repeat)
        for question_set in sets:
            cell = Cell(agent=label, set_name=question_set.name, repeat=repeat)
            ids = list(samples[question_set.name].ids)
            questions = {"kind": "subset", "of": question_set.spec, "ids": ids}
            env_kwargs = {**config.env_kwargs(), "questions": questions}
            if config.prompt is None and (prompt := getattr(agent, "prompt", None)) is not None:
                env_kwargs["prompt"] = prompt
            session.begin_cell(str(cell))
            report = evaluate(
                agent,
                _ENV_ID,
                episodes=len(ids),
                seed=config.seed + repeat,
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
