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
from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.progress import print_plain
from agents.storage.output_folder import FreshFlag
from agents.studies.counterfactuals.flip_pages import flip_pages
from agents.studies.counterfactuals.report import CounterfactualReport
from zs_env.text.paths import expand_paths


@dataclass(frozen=True, kw_only=True)
class CounterfactualConfig(FreshFlag):
    """Replay an evaluation's episodes with one page flipped, useful to noisy or the reverse.

    The change of the reward is attributed to that page. Agent, environment and seed are read from
    the evaluation's folder. Everything before the page stays the same; an episode that cannot be
    replayed as recorded is an error. The same command continues an interrupted study.

    Attributes:
        evaluation: folder of `zerosearch evaluate`, or of a cell of `zerosearch sweep-noise`.
        episodes: number of first episodes of the evaluation; all by default.
        concurrency: episodes played at once; the results do not depend on it.
        output: folder for pages and transcripts; "counterfactuals" in the evaluation's by default.
        json: print one JSON object to standard output.
    """

    evaluation: Path
    episodes: int | None = None
    concurrency: int = DEFAULT_CONCURRENCY
    output: Path | None = None
    json: bool = False

    def __post_init__(self) -> None:
        expand_paths(self)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    config = tyro.cli(CounterfactualConfig, prog="zerosearch counterfactuals", args=argv)
    if config.episodes is not None and config.episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {config.episodes}")
    evaluation = EvaluationFolder.read(config.evaluation, episodes=config.episodes)
    output = config.output or config.evaluation / "counterfactuals"
    console = Console(stderr=True)
    agent = build_agent(evaluation.setting["agent"])
    report = CounterfactualReport(
        flip_pages(
            agent,
            evaluation,
            output,
            concurrency=config.concurrency,
            fresh=config.fresh,
            console=console,
        )
    )
    report.write_csv(output)
    console.print(report.table())
    console.print(
        f"{len(report.pages)} pages of {len(evaluation.results)} episodes; {report.num_same} "
        f"stayed the same when flipped, {report.num_failures} ended in a failure of the engine."
    )
    print_plain(console, f"CSV files, pages and transcripts: {output}")
    if config.json:
        print(json.dumps({**evaluation.setting, **report.to_json(), "folder": str(output)}))
    return 0
