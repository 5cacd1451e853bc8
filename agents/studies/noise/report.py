"""The results of a noise sweep: robustness of the agents, as tables, JSON and CSV files.

The robustness of an agent is the area under its curve of F1 over the noise level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from rich.table import Table

from agents.evaluation.statistics import (
    Interval,
    bootstrap_interval,
    bootstrap_ratio,
    paired_differences,
)
from agents.studies.noise.sweep import Cell
from agents.studies.tables import figure_table, write_csv

_METRICS = ("f1", "exact_match", "cover_match", "searches")

Curve = dict[float, float]  # F1 by noise level, two or more in increasing order


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """The robustness of an agent.

    Attributes:
        area: under the curve of F1 over noise, divided by the range of the levels: the mean F1 if
            all levels in the range are equally likely. In [0, 1].
        retained: the area as a share of F1 at noise 0; empty without that level.
        questions: number of questions without a failure at any level.
    """

    agent: str
    area: Interval
    retained: Interval
    questions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaDifference:
    """Two agents compared on the questions that both played without a failure at every level.

    Attributes:
        second: name of the agent whose area is subtracted.
        p_value: see `PairedDifference`; not corrected for multiple comparisons.
    """

    first: str
    second: str
    difference: Interval
    p_value: float | None
    questions: int


def area_under_curve(curve: Curve) -> float:
    """Return the area by the trapezoid rule, divided by the range of the noise levels."""
    points = list(curve.items())
    area = sum((right - left) * (low + high) / 2 for (left, low), (right, high) in pairwise(points))
    return area / (points[-1][0] - points[0][0])


def robustness_of(cells: Sequence[Cell]) -> list[Robustness]:
    """Compute the robustness of each agent of a sweep.

    The area of the mean curve is the mean of the questions' areas, so a resampled question keeps
    all its noise levels.
    """
    found = []
    for agent, curves in _curves(cells).items():
        areas = [area_under_curve(curve) for curve in curves.values()]
        undisturbed = [curve[0.0] for curve in curves.values() if 0.0 in curve]
        retained = bootstrap_ratio(areas, undisturbed) if undisturbed else Interval()
        area, questions = bootstrap_interval(areas), len(curves)
        found.append(Robustness(agent=agent, area=area, retained=retained, questions=questions))
    return found


def area_differences(cells: Sequence[Cell]) -> list[AreaDifference]:
    """Compare every two agents of a sweep, in their order."""
    curves = _curves(cells)
    differences = []
    for first, second in combinations(curves, 2):
        shared = sorted(curves[first].keys() & curves[second].keys())
        areas = [
            area_under_curve(curves[first][number]) - area_under_curve(curves[second][number])
            for number in shared
        ]
        paired = paired_differences([{"area": areas}])["area"]
        differences.append(
            AreaDifference(
                first=first,
                second=second,
                difference=paired.difference,
                p_value=paired.p_value,
                questions=len(shared),
            )
        )
    return differences


def _curves(cells: Sequence[Cell]) -> dict[str, dict[int, Curve]]:
    """Return curves by agent and question number, without questions that failed at any level."""
    by_agent: dict[str, dict[int, Curve]] = {}
    for agent in dict.fromkeys(cell.agent for cell in cells):
        own = sorted((cell for cell in cells if cell.agent == agent), key=lambda cell: cell.noise)
        by_agent[agent] = {
            results[0].index: {cell.noise: one.f1 for cell, one in zip(own, results, strict=True)}
            for results in zip(*(cell.evaluation.results for cell in own), strict=True)
            if all(result.failure is None for result in results)
        }
    return by_agent


class SweepReport:
    """The results of a sweep.

    Args:
        cells: one for each agent and noise level.

    Attributes:
        robustness: one for each agent.
        differences: one for each pair of agents.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = cells
        self.robustness = robustness_of(cells)
        self.differences = area_differences(cells)

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

    def write_csv(self, folder: Path) -> None:
        """Write the three CSV files into a folder."""
        write_csv(folder / "sweep.csv", map(_cell_row, self.cells))
        write_csv(folder / "areas.csv", map(asdict, self.robustness))
        write_csv(folder / "differences.csv", map(asdict, self.differences))

    def tables(self) -> list[Table]:
        """Return the tables of cells, of areas and, with two or more agents, of differences."""
        areas = figure_table(
            "Robustness",
            ["agent", "area under F1", "share of F1 at noise 0", "questions"],
            [(one.agent, one.area, one.retained, one.questions) for one in self.robustness],
            no_wrap="area under F1",
        )
        tables = [self._cell_table(), areas]
        if self.differences:
            rows = []
            for one in self.differences:
                p_value = "-" if one.p_value is None else f"{one.p_value:.4f}"
                rows.append((f"{one.first} - {one.second}", one.difference, p_value, one.questions))
            headers = ["agents", "difference", "p", "questions"]
            title = "Paired differences of the area"
            tables.append(figure_table(title, headers, rows, no_wrap="difference"))
        return tables

    def _cell_table(self) -> Table:
        headers = ["agent", "noise", "observed", "f1", "EM", "cover", "searches"]
        with_failures = any(cell.report.num_failures for cell in self.cells)
        rows = []
        for cell in self.cells:
            f1, *others = (cell.report.metrics[name] for name in _METRICS)
            row = [cell.agent, f"{cell.noise:g}", cell.observed_noise().format_mean(), f1]
            row += [interval.format_mean() for interval in others]
            rows.append([*row, cell.report.num_failures] if with_failures else row)
        return figure_table(
            "Means by noise level, with the observed noise; F1 with 95 % intervals",
            [*headers, "failures"] if with_failures else headers,
            rows,
            no_wrap="f1",
        )


def _cell_row(cell: Cell) -> dict[str, Any]:
    report = cell.report
    return {
        "agent": cell.agent,
        "noise": cell.noise,
        "observed_noise": asdict(cell.observed_noise()),
        **{name: asdict(report.metrics[name]) for name in _METRICS},
        "episodes": report.num_episodes,
        "failures": report.num_failures,
        "folder": report.folder,
    }
