"""Plots the learning curve of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure


def draw_learning_curve(
    train_rows: Sequence[Mapping[str, Any]],
    evaluation_rows: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    title: str = "",
) -> None:
    """Plot reward, held-out F1, noise probability and number of searches over the steps.

    Args:
        train_rows: rows with `step`, `reward_mean`, `noise_probability` and `searches_mean`.
        evaluation_rows: rows with `step`, `setting`, `f1` and its interval `f1_low`, `f1_high`.
        path: PNG file to write.
        title: title of the figure.
    """
    figure = Figure(figsize=(8, 6), layout="constrained")
    scores, searches = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    steps = [row["step"] for row in train_rows]
    scores.plot(
        steps,
        _numbers(train_rows, "reward_mean"),
        color="0.6",
        linewidth=1,
        label="training reward (sampled)",
    )
    scores.plot(
        steps,
        [row["noise_probability"] for row in train_rows],
        color="0.4",
        linestyle=":",
        label="noise probability in training",
    )
    for setting in dict.fromkeys(row["setting"] for row in evaluation_rows):
        rows = [row for row in evaluation_rows if row["setting"] == setting]
        at = [row["step"] for row in rows]
        (line,) = scores.plot(at, _numbers(rows, "f1"), marker="o", markersize=3)
        line.set_label(f"held-out F1, {setting}")
        low, high = _numbers(rows, "f1_low"), _numbers(rows, "f1_high")
        scores.fill_between(at, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    scores.set_ylim(0, 1)
    scores.set_ylabel("F1 · reward · probability")
    scores.legend(fontsize=8)
    searches.plot(steps, _numbers(train_rows, "searches_mean"), color="0.3")
    searches.set_ylabel("searches")
    searches.set_xlabel("step")
    figure.suptitle(title)
    # Renamed when complete, so that a viewer never reads half a file.
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=120, format="png")
    temporary.rename(path)


def _numbers(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """A column; null becomes NaN, a gap in the line."""
    return [float("nan") if row[key] is None else row[key] for row in rows]
