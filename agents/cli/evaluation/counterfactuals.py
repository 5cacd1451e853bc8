"""`zerosearch counterfactuals`: flips the pages of an evaluation one by one.

Progress and the table go to standard error, the object of `--json` to standard output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from agents.agent_registry import build_agent
from agents.evaluation.evaluate import DEFAULT_CONCURRENCY
from agents.storage.plain_text import say
from agents.studies.counterfactuals.counterfactual import RecordedEvaluation, flip_pages
from agents.studies.counterfactuals.report import CounterfactualReport


@dataclass(frozen=True, kw_only=True)
class CounterfactualConfig:
    """Play an evaluation's episodes again with one page flipped, useful to noisy or the reverse.

    What changes in the reward is attributed to that page. Agent, environment and seed are those
    that the evaluation's folder tells of, and everything but the page and what follows from it is
    as it was; an episode that cannot be replayed as recorded is an error. The same command goes on
    with what was left unfinished.

    Attributes:
        evaluation: folder of `zerosearch evaluate`, or of a cell of `zerosearch sweep-noise`.
        episodes: the first ones of the evaluation; all by default.
        concurrency: episodes played at once; changes no figure.
        output: folder of pages and transcripts; "counterfactuals" in the evaluation's by default.
        json: print one JSON object to standard output.
    """

    evaluation: Path
    episodes: int | None = None
    concurrency: int = DEFAULT_CONCURRENCY
    output: Path | None = None
    json: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    config = tyro.cli(CounterfactualConfig, prog="zerosearch counterfactuals", args=argv)
    recorded = RecordedEvaluation.load(config.evaluation, episodes=config.episodes)
    output = config.output or config.evaluation / "counterfactuals"
    console = Console(stderr=True)
    agent = build_agent(recorded.setting["agent"])
    report = CounterfactualReport.of(
        flip_pages(agent, recorded, output, concurrency=config.concurrency, console=console)
    )
    report.write_csv(output)
    console.print(report.table())
    console.print(
        f"{len(report.pages)} pages of {len(recorded.transcripts)} episodes; {report.num_same} "
        f"stayed the same when flipped, {report.num_failures} ended in a failure of the engine."
    )
    say(console, f"CSV files, pages and transcripts: {output}")
    if config.json:
        print(json.dumps({**recorded.setting, **report.to_json(), "folder": str(output)}))
    return 0
