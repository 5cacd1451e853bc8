"""Plays every agent on every set: the same questions, the same engine, the same luck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from agents.agent import Agent
from agents.agent_registry import build_agent, fingerprint
from agents.evaluation.evaluate import evaluate
from agents.studies.benchmark.cell import Cell
from agents.studies.benchmark.config import BenchmarkConfig
from agents.studies.benchmark.progress import BenchmarkProgress
from agents.studies.benchmark.question_set import QuestionSet
from agents.studies.benchmark.sample import Sample, read_samples, write_samples
from zs_env.config import build_questions
from zs_env.questions import questions_by_id

SAMPLE_FILE = "sample.json"
_ENV_ID = "ZeroSearch/File-v0"


def choose_samples(
    config: BenchmarkConfig, sets: Sequence[QuestionSet], output: Path, *, started: bool
) -> dict[str, Sample]:
    """Choose the questions of each set, or take those of a given file, and write them down.

    Args:
        config: of the benchmark.
        sets: that are asked.
        output: its folder.
        started: whether an episode of the samples that are there was played.

    Raises:
        ValueError: if the folder holds another sample of a set, or the set holds other questions
            than the given file was made from.
    """
    given = None if config.sample is None else read_samples(config.sample)
    samples = {one.name: _choose(config, one, given) for one in sets}
    path = output / SAMPLE_FILE
    there = read_samples(path) if started else {}
    for name, sample in samples.items():
        if there.get(name, sample) != sample:
            raise ValueError(
                f"{path} holds another sample of {name!r} ({len(there[name].ids)} questions, now "
                f"{len(sample.ids)}, or others of them): the flags or the file of questions have "
                "changed; choose another --output, or delete that folder"
            )
    write_samples(path, {**there, **samples})
    return samples


def _choose(
    config: BenchmarkConfig, question_set: QuestionSet, given: Mapping[str, Sample] | None
) -> Sample:
    questions = build_questions(question_set.spec)
    name = question_set.name
    if given is None:
        return Sample.draw(questions, config.set_size, seed=config.sample_seed)
    if name not in given:
        raise ValueError(f"{config.sample} holds no sample of {name!r}, only of {sorted(given)}")
    sample = Sample.of(questions_by_id(questions, given[name].ids))
    if given[name].digest not in (None, sample.digest):
        raise ValueError(
            f"the questions of {name!r} have the ids of {config.sample}, but other texts or gold "
            "answers; load the set that the sample was made from"
        )
    return sample


def list_cells(config: BenchmarkConfig, sets: Sequence[QuestionSet]) -> list[Cell]:
    """Return what there is to play, in that order."""
    return [
        Cell(agent=agent, set_name=one.name, repeat=repeat)
        for agent, repeat, one in product(config.named_agents(), range(config.repeats), sets)
    ]


def play_cells(
    config: BenchmarkConfig,
    sets: Sequence[QuestionSet],
    samples: Mapping[str, Sample],
    output: Path,
    progress: BenchmarkProgress,
) -> None:
    """Play whatever is not in the folder yet.

    One agent is loaded at a time, for it may fill the memory.

    Raises:
        ValueError: if the folder holds episodes of another setting or of an agent that changed.
    """
    agents = config.named_agents().items()
    for (label, name), repeat in product(agents, range(config.repeats)):
        agent = build_agent(name, temperature=config.temperature, seed=config.seed + repeat)
        for question_set in sets:
            cell = Cell(agent=label, set_name=question_set.name, repeat=repeat)
            sample = samples[question_set.name]
            _play(config, agent, name, cell, question_set, sample, output, progress)


def _play(
    config: BenchmarkConfig,
    agent: Agent,
    name: str,
    cell: Cell,
    question_set: QuestionSet,
    sample: Sample,
    output: Path,
    progress: BenchmarkProgress,
) -> None:
    ids = list(sample.ids)
    env_kwargs = config.env_kwargs()
    if config.prompt is None and (prompt := getattr(agent, "prompt", None)) is not None:
        env_kwargs["prompt"] = prompt
    progress.begin(cell)
    report = evaluate(
        agent,
        _ENV_ID,
        episodes=len(ids),
        seed=config.seed + cell.repeat,
        noise=config.noise,
        env_kwargs={
            **env_kwargs,
            "questions": {"kind": "subset", "of": question_set.spec, "ids": ids},
        },
        concurrency=config.concurrency,
        output=cell.folder(output),
        agent_name=name,
        fingerprint=fingerprint(agent),
        on_start=progress.found,
        on_episode=progress.episode,
        on_costs=progress.costs,
    )
    progress.end(report)
