"""`zerosearch report`: evaluations as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from agents.evaluation.report.html import write_report
from agents.storage.plain_text import say


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
    say(Console(stderr=True), f"{config.output}: {size / 2**20:,.1f} MiB")
    return 0
