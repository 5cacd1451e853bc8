"""`zerosearch sweep-noise`: agents under rising noise, on the same questions.

Progress and tables go to standard error, the object of `--json` to standard output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro
from rich.console import Console

from agents.agent_registry import build_agent, check_agent_name
from agents.cli.environment_flags import EnvironmentFlags
from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.report.html import write_report
from agents.storage.folder_lock import folder_lock
from agents.storage.plain_text import say
from agents.studies.noise.report import SweepReport
from agents.studies.noise.sweep import SweepSetting, cell_folder, run_sweep

PICTURE_FILE = "sweep.png"
REPORT_FILE = "report.html"


@dataclass(frozen=True, kw_only=True)
class SweepConfig(EnvironmentFlags):
    """Play agents on the same questions at several noise levels, and compare how they bear it.

    The same command goes on with what was left unfinished; with more agents, noise levels or
    episodes it plays only what is missing. The engine must be one that writes noise when asked:
    a world, paragraphs, a simulator. One that only looks at the query gives a flat line.

    Attributes:
        agents: names, as `zerosearch evaluate --agent` takes them.
        noise: levels in [0, 1], two or more.
        output: folder of the cells, the CSV files, the picture and the HTML report.
        json: print one JSON object to standard output.
    """

    agents: tuple[str, ...]
    noise: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    output: Path = Path("runs/noise-sweep")
    json: bool = False

    def setting(self) -> SweepSetting:
        """Return what all cells share."""
        return SweepSetting(
            env_id=self.env,
            env_kwargs=self.env_kwargs(),
            episodes=self.episodes,
            seed=self.seed,
            concurrency=self.concurrency,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 1 where a cell has no sound episode."""
    config = tyro.cli(SweepConfig, prog="zerosearch sweep-noise", args=argv)
    if not config.agents or len(set(config.agents)) != len(config.agents):
        raise ValueError(f"--agents needs one or more different names, got {list(config.agents)}")
    for name in config.agents:
        check_agent_name(name)
    console = Console(stderr=True)
    agents = {name: partial(build_agent, name) for name in config.agents}
    with folder_lock(config.output):
        cells = run_sweep(agents, config.noise, config.setting(), config.output, console=console)
        report = SweepReport.of(cells)
        report.write_csv(config.output)
        evaluations = [
            EvaluationFolder.read(
                cell_folder(config.output, cell.agent, cell.noise), episodes=config.episodes
            )
            for cell in cells
        ]
        write_report(evaluations, config.output / REPORT_FILE, title="Noise sweep")
        for table in report.tables():
            console.print(table)
        _draw(report, config, console)
    for cell in cells:
        if cell.report.num_failures:
            told = f"{cell.agent}, noise {cell.noise:g}: {cell.report.failure_summary}"
            say(console, f"{told}. The same command plays them again.", style="yellow")
    say(console, f"CSV files, results, report.html and transcripts: {config.output}")
    if config.json:
        print(json.dumps({**report.to_json(), "folder": str(config.output)}))
    return 1 if any(cell.report.all_void for cell in cells) else 0


def _draw(report: SweepReport, config: SweepConfig, console: Console) -> None:
    try:
        from agents.studies.noise.plot import draw_sweep
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        console.print(
            "No picture, for matplotlib is not installed. To get one, run the same command after: "
            'pip install "zerosearch-gym[train]"',
            markup=False,
        )
        return
    path = config.output / PICTURE_FILE
    episodes = max(cell.report.num_episodes for cell in report.cells)
    draw_sweep(report, path, title=f"{config.env}, the same {episodes} questions for all")
    say(console, f"Picture: {path}")
