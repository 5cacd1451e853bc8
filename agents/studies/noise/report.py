"""The results of a noise sweep as tables, JSON and CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from agents.studies.noise.robustness import (
    AreaDifference,
    Robustness,
    area_differences,
    robustness_of,
)
from agents.studies.noise.sweep import Cell
from agents.studies.tables import figure_table, flat_row, write_csv

CELLS_FILE = "sweep.csv"
AREAS_FILE = "areas.csv"
DIFFERENCES_FILE = "differences.csv"
_METRICS = ("f1", "exact_match", "cover_match", "searches")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """The results of a sweep.

    Attributes:
        cells: one for each agent and noise level.
        robustness: one for each agent.
        differences: one for each pair of agents.
    """

    cells: Sequence[Cell]
    robustness: Sequence[Robustness]
    differences: Sequence[AreaDifference]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> SweepReport:
        """Compute robustness and differences from the cells."""
        return cls(
            cells=cells,
            robustness=robustness_of(cells),
            differences=area_differences(cells),
        )

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; cells have the form of `zerosearch evaluate --json`."""
        return {
            "cells": [
                {**cell.report.to_json(), "observed_noise": asdict(cell.observed_noise())}
                for cell in self.cells
            ],
            "areas": [asdict(one) for one in self.robustness],
            "differences": [asdict(one) for one in self.differences],
        }

    def tables(self) -> list[Table]:
        """Return the tables of cells, of areas and, with two or more agents, of differences."""
        tables = [self._cell_table(), self._area_table()]
        return tables + ([self._difference_table()] if self.differences else [])

    def write_csv(self, folder: Path) -> None:
        """Write the three CSV files into a folder."""
        write_csv(folder / CELLS_FILE, [_cell_row(cell) for cell in self.cells])
        write_csv(folder / AREAS_FILE, [flat_row(asdict(one)) for one in self.robustness])
        write_csv(folder / DIFFERENCES_FILE, [flat_row(asdict(one)) for one in self.differences])

    def _cell_table(self) -> Table:
        headers = ["agent", "noise", "observed", "f1", "EM", "cover", "searches"]
        with_failures = any(cell.report.num_failures for cell in self.cells)
        rows = []
        for cell in self.cells:
            f1, *others = (cell.report.metrics[name] for name in _METRICS)
            row = [cell.agent, f"{cell.noise:g}", cell.observed_noise().format_mean(), str(f1)]
            row += [interval.format_mean() for interval in others]
            rows.append([*row, str(cell.report.num_failures)] if with_failures else row)
        return figure_table(
            "Means by noise level, with the observed noise; F1 with 95 % intervals",
            [*headers, "failures"] if with_failures else headers,
            rows,
            no_wrap="f1",
        )

    def _area_table(self) -> Table:
        headers = ["agent", "area under F1", "share of F1 at noise 0", "questions"]
        rows = [
            (one.agent, str(one.area), str(one.retained), str(one.questions))
            for one in self.robustness
        ]
        return figure_table("Robustness", headers, rows, no_wrap="area under F1")

    def _difference_table(self) -> Table:
        headers = ["agents", "difference", "p", "questions"]
        rows = [
            (
                f"{one.first} - {one.second}",
                str(one.difference),
                "-" if one.p_value is None else f"{one.p_value:.4f}",
                str(one.questions),
            )
            for one in self.differences
        ]
        return figure_table("Paired differences of the area", headers, rows, no_wrap="difference")


def _cell_row(cell: Cell) -> dict[str, Any]:
    report = cell.report
    intervals = {"observed_noise": cell.observed_noise()}
    intervals |= {name: report.metrics[name] for name in _METRICS}
    return {
        "agent": cell.agent,
        "noise": cell.noise,
        **flat_row({name: asdict(interval) for name, interval in intervals.items()}),
        "episodes": report.num_episodes,
        "failures": report.num_failures,
        "folder": report.folder,
    }
