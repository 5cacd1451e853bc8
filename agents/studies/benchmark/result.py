"""The episodes of a benchmark: one row each, computed from the transcripts alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.record import TRANSCRIPTS_FILE
from agents.studies.benchmark.cells import Cell
from zs_env.metrics import F1Tokens
from zs_env.transcripts.storage import read_transcripts


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(EpisodeResult):
    """One repeat of an agent on a question.

    Attributes:
        agent: label of the agent in tables.
        set: name of the question set.
        repeat: from 0.
    """

    agent: str
    set: str
    repeat: int


def read_results(cell: Cell, output: Path, *, f1_tokens: F1Tokens = "words") -> Iterator[Result]:
    """Score the transcripts in the folder of a cell."""
    transcripts = read_transcripts(cell.folder(output) / TRANSCRIPTS_FILE)
    for index, transcript in enumerate(transcripts):
        yield Result.from_transcript(
            index,
            transcript,
            f1_tokens=f1_tokens,
            agent=cell.agent,
            set=cell.set_name,
            repeat=cell.repeat,
        )
