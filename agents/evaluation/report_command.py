"""`zerosearch report`: evaluations as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from agents.evaluation.html_report import write_report


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Write one self-contained HTML page: figures, plots, every transcript with filters.

    Attributes:
        folders: evaluations, each as `zerosearch evaluate` wrote it.
        output: the page.
        title: of the page.
    """

    folders: tyro.conf.Positional[tuple[Path, ...]]
    output: Path = Path("report.html")
    title: str = "Evaluations"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    config = tyro.cli(ReportConfig, prog="zerosearch report", args=argv)
    write_report(config.folders, config.output, title=config.title)
    size = config.output.stat().st_size
    Console(stderr=True).print(
        f"{config.output}: {size / 2**20:,.1f} MiB", markup=False, highlight=False, soft_wrap=True
    )
    return 0
