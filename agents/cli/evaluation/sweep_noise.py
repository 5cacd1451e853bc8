"""`zerosearch sweep-noise`: evaluates agents at several noise levels, on the same questions.

Progress and tables go to standard error, the object of `--json` to standard output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from agents.agent_labels import agents_by_label
from agents.agent_registry import check_agents
from agents.evaluation.progress import print_plain
from agents.evaluation.report.html import write_report
from agents.evaluation.settings import EvaluationSettings
from agents.specs import served_models
from agents.storage.output_folder import folder_lock
from agents.studies.noise.report import SweepReport
from agents.studies.noise.sweep import run_sweep


@dataclass(frozen=True, kw_only=True)
class SweepConfig(EvaluationSettings):
    """Play agents on the same questions at several noise levels, and compare their robustness.

    The same command continues an interrupted sweep; with more agents, noise levels or episodes it
    plays only what is missing. The engine must support noise: a world, paragraphs, a simulator. An
    engine that uses the query alone gives a flat curve.

    Attributes:
        agents: as for `zerosearch evaluate --agent`; LABEL=AGENT sets the label in tables.
        noise: two or more levels in [0, 1].
        output: folder for the cells, the CSV files, the plot and the HTML report.
        json: print one JSON object to standard output.
    """

    agents: tuple[str, ...]
    noise: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    output: Path = Path("runs/noise-sweep")
    json: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 1 if every episode of a cell failed."""
    config = tyro.cli(SweepConfig, prog="zerosearch sweep-noise", args=argv)
    agents = agents_by_label(config.agents)
    check_agents(agents.values())
    served_models(config.env_kwargs())
    console = Console(stderr=True)
    with folder_lock(config.output):
        cells = run_sweep(
            agents,
            config.noise,
            config.output,
            env_id=config.env,
            env_kwargs=config.env_kwargs(),
            episodes=config.episodes,
            seed=config.seed,
            fresh=config.fresh,
            concurrency=config.concurrency,
            console=console,
        )
        report = SweepReport(cells)
        report.write_csv(config.output)
        evaluations = [cell.evaluation for cell in cells]
        write_report(evaluations, config.output / "report.html", title="Noise sweep")
        for table in report.tables():
            console.print(table)
        _draw(report, config, console)
    for cell in cells:
        if cell.report.num_failures:
            warning = f"{cell.agent}, noise {cell.noise:g}: {cell.report.failure_summary}"
            print_plain(console, f"{warning}. The same command replays them.", style="yellow")
    print_plain(console, f"CSV files, results, report.html and transcripts: {config.output}")
    if config.json:
        print(json.dumps({**report.to_json(), "folder": str(config.output)}))
    return 1 if any(cell.report.all_failed for cell in cells) else 0


def _draw(report: SweepReport, config: SweepConfig, console: Console) -> None:
    try:
        from agents.studies.noise.plot import draw_sweep
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        console.print(
            "No plot, since matplotlib is not installed. To get one, run the same command after: "
            'pip install "zerosearch-gym[train]"',
            markup=False,
        )
        return
    path = config.output / "sweep.png"
    episodes = max(cell.report.num_episodes for cell in report.cells)
    draw_sweep(report, path, title=f"{config.env}, the same {episodes} questions for all agents")
    print_plain(console, f"Plot: {path}")
