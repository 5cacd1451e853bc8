"""The figures of a sweep: as tables for people, as JSON, as CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from agents.evaluation.statistics import Interval
from agents.storage.csv_file import flat_row, write_csv
from agents.studies.figure_table import figure_table
from agents.studies.noise.robustness import (
    AreaDifference,
    Robustness,
    area_differences,
    robustness_of,
)
from agents.studies.noise.sweep import Cell

CELLS_FILE = "sweep.csv"
AREAS_FILE = "areas.csv"
DIFFERENCES_FILE = "differences.csv"
_METRICS = ("f1", "exact_match", "cover_match", "searches")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What a sweep found.

    Attributes:
        cells: one for each agent and noise level.
        robustness: one for each agent.
        differences: one for each two agents.
    """

    cells: Sequence[Cell]
    robustness: Sequence[Robustness]
    differences: Sequence[AreaDifference]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> SweepReport:
        """Judge the agents of a sweep and compare them."""
        return cls(
            cells=cells,
            robustness=robustness_of(cells),
            differences=area_differences(cells),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; cells are as `zerosearch evaluate --json` prints them."""
        return {
            "cells": [
                {**cell.report.to_json(), "noise_that_came": cell.noise_that_came().to_json()}
                for cell in self.cells
            ],
            "areas": [one.to_json() for one in self.robustness],
            "differences": [one.to_json() for one in self.differences],
        }

    def tables(self) -> list[Table]:
        """Return it as tables for people: cells, areas and, of two agents or more, differences."""
        tables = [self._cell_table(), self._area_table()]
        return tables + ([self._difference_table()] if self.differences else [])

    def write_csv(self, folder: Path) -> None:
        """Write the three CSV files into a folder."""
        write_csv(folder / CELLS_FILE, [_cell_row(cell) for cell in self.cells])
        write_csv(folder / AREAS_FILE, [flat_row(one.to_json()) for one in self.robustness])
        write_csv(folder / DIFFERENCES_FILE, [flat_row(one.to_json()) for one in self.differences])

    def _cell_table(self) -> Table:
        headers = ["agent", "noise", "came", "f1", "EM", "cover", "searches"]
        if any(cell.report.num_failures for cell in self.cells):
            headers.append("failures")
        title = "Means under noise, asked and as it came; F1 with 95 % intervals"
        table = figure_table(title, headers, whole="f1")
        for cell in self.cells:
            f1, *others = (cell.report.metrics[name] for name in _METRICS)
            means = [_mean(interval) for interval in (cell.noise_that_came(), *others)]
            row = [cell.agent, f"{cell.noise:g}", means[0], str(f1), *means[1:]]
            table.add_row(*row, *([str(cell.report.num_failures)] if "failures" in headers else []))
        return table

    def _area_table(self) -> Table:
        headers = ["agent", "area under F1", "share of F1 at noise 0", "questions"]
        table = figure_table("Robustness", headers, whole="area under F1")
        for one in self.robustness:
            table.add_row(one.agent, str(one.area), str(one.retained), str(one.questions))
        return table

    def _difference_table(self) -> Table:
        headers = ["agents", "difference", "p", "questions"]
        table = figure_table("Paired differences in the area", headers, whole="difference")
        for one in self.differences:
            p_value = "-" if one.paired.p_value is None else f"{one.paired.p_value:.4f}"
            names = f"{one.first} - {one.second}"
            table.add_row(names, str(one.paired.difference), p_value, str(one.questions))
        return table


def _mean(interval: Interval) -> str:
    return "-" if interval.mean is None else f"{interval.mean:.3f}"


def _cell_row(cell: Cell) -> dict[str, Any]:
    report = cell.report
    intervals = {"noise_that_came": cell.noise_that_came()}
    intervals |= {name: report.metrics[name] for name in _METRICS}
    return {
        "agent": cell.agent,
        "noise": cell.noise,
        **flat_row({name: interval.to_json() for name, interval in intervals.items()}),
        "episodes": report.num_episodes,
        "failures": report.num_failures,
        "folder": report.folder,
    }
