"""Plots the curves of a noise sweep."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib.figure import Figure

from agents.storage.output_folder import atomic_path
from agents.studies.noise.report import SweepReport

_MARKERS = "os^Dv*Xp"


def draw_sweep(report: SweepReport, path: Path, *, title: str = "") -> None:
    """Draw each agent's F1 over the noise level, with its interval and its area, as a PNG file."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, robustness in enumerate(report.robustness):
        cells = [cell for cell in report.cells if cell.agent == robustness.agent]
        noises = [cell.noise for cell in cells]
        f1s = [astuple(cell.report.metrics["f1"]) for cell in cells]
        mean, low, high = np.array(f1s, dtype=float).T  # None becomes NaN: a gap in the curve
        marker = _MARKERS[number % len(_MARKERS)]
        (line,) = axes.plot(noises, mean, marker=marker, markersize=5)
        line.set_label(f"{robustness.agent}, area {robustness.area}")
        axes.fill_between(noises, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_xlabel("noise probability of a search")
    axes.set_ylabel("token F1, 95 % intervals")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    axes.set_title(title, fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
