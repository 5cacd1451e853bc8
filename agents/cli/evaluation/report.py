"""`zerosearch report`: writes evaluations as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from agents.evaluation.progress import print_plain
from agents.evaluation.report.html import write_report
from zs_env.text.paths import expand_paths


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Write one self-contained HTML page: figures, plots, and all transcripts with filters.

    Attributes:
        folders: --output folders of `zerosearch evaluate`.
        output: path of the page.
        title: of the page.
    """

    folders: tyro.conf.Positional[tuple[Path, ...]]
    output: Path = Path("report.html")
    title: str = "Evaluations"

    def __post_init__(self) -> None:
        expand_paths(self)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    config = tyro.cli(ReportConfig, prog="zerosearch report", args=argv)
    write_report(config.folders, config.output, title=config.title)
    size = config.output.stat().st_size
    print_plain(Console(stderr=True), f"{config.output}: {size / 2**20:,.1f} MiB")
    return 0
