"""Output of a training run: lines for steps and evaluations, tables, and the learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from agents.storage.output_folder import atomic_path
from zs_env.transcripts.transcript import Transcript

Rows = Sequence[Mapping[str, Any]]


# Labels and metrics in the summary of a step.
_STEP_METRICS = {
    "reward": "reward_mean",
    "searches": "searches_mean",
    "noise": "noise_probability",
    "entropy": "entropy",
    "grad": "grad_norm",
    "rollout s": "rollout_seconds",
    "update s": "update_seconds",
}


def step_summary(row: Mapping[str, Any]) -> str:
    """Return the main metrics of a step as one line."""
    return "  ".join(
        f"{label} {row[metric]:.3f}"
        for label, metric in _STEP_METRICS.items()
        if isinstance(row.get(metric), float)
    )


def evaluation_summary(step: int, rows: Rows) -> str:
    """Return the scores of an evaluation as one line."""
    scores = "  ".join(f"{row['setting']} {row['f1']:.3f}" for row in rows)
    return f"evaluation after {step} steps, held-out F1:  {scores}"


def before_after_table(before: Rows, after: Rows, oracle: Mapping[str, float]) -> Table:
    """Make a table of the F1 and its interval before and after training, one row per setting.

    Args:
        before: evaluation rows of the initial policy.
        after: evaluation rows of the final policy, with the same settings in the same order.
        oracle: F1 by setting of a scripted agent that follows every hop.
    """
    episodes = after[0]["episodes"] if after else 0
    columns = ("setting", "before", "after", "oracle", "searches", "answered")
    table = _table(f"F1 on {episodes} held-out questions (95% interval)", *columns)
    for old, new in zip(before, after, strict=True):
        top = oracle.get(new["setting"])
        table.add_row(
            new["setting"],
            _interval(old),
            _interval(new),
            "" if top is None else f"{top:.3f}",
            f"{old['searches']:.1f} → {new['searches']:.1f}",
            f"{old['answered']:.0%} → {new['answered']:.0%}",
        )
    return table


def structure_table(before: Rows, after: Rows) -> Table:
    """Make a table of the F1 before and after training by question structure, first setting."""
    title = f"F1 by structure, {after[0]['setting']}"
    table = _table(title, "structure", "questions", "before", "after")
    for name, new in after[0]["structures"].items():
        old = before[0]["structures"].get(name, {"f1": float("nan")})
        table.add_row(name, str(new["episodes"]), f"{old['f1']:.3f}", f"{new['f1']:.3f}")
    return table


def transcript_table(transcripts: Sequence[Transcript]) -> Table:
    """Make a table of questions, searches and answers."""
    table = Table(title="sample transcripts")
    for column in ("question", "actions", "answer", "gold", "F1"):
        table.add_column(column, overflow="fold")
    for transcript in transcripts:
        actions = [getattr(turn.action, "query", None) for turn in transcript.turns]
        table.add_row(
            Text(transcript.question.text),
            Text("\n".join(f"search: {query}" for query in actions if query)),
            Text(transcript.prediction or f"({transcript.reason})"),
            Text(next(iter(transcript.question.answers), "")),
            f"{transcript.scores()['f1']:.2f}",
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _interval(row: Mapping[str, Any]) -> str:
    return f"{row['f1']:.3f} [{row['f1_low']:.3f}, {row['f1_high']:.3f}]"


def draw_learning_curve(
    train_rows: Rows, evaluation_rows: Rows, path: Path, *, title: str = ""
) -> None:
    """Plot reward, held-out F1, noise probability and number of searches over the steps.

    Args:
        train_rows: rows with `step`, `reward_mean`, `noise_probability` and `searches_mean`.
        evaluation_rows: rows with `step`, `setting`, `f1` and its interval `f1_low`, `f1_high`.
        path: PNG file to write.
        title: title of the figure.
    """
    from matplotlib.figure import Figure  # takes a second

    figure = Figure(figsize=(8, 6), layout="constrained")
    scores, searches = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    steps = _column(train_rows, "step")
    reward, noise = (_column(train_rows, key) for key in ("reward_mean", "noise_probability"))
    scores.plot(steps, reward, color="0.6", linewidth=1, label="training reward (sampled)")
    scores.plot(steps, noise, color="0.4", linestyle=":", label="noise probability in training")
    for setting in dict.fromkeys(row["setting"] for row in evaluation_rows):
        rows = [row for row in evaluation_rows if row["setting"] == setting]
        at, f1, low, high = (_column(rows, key) for key in ("step", "f1", "f1_low", "f1_high"))
        (line,) = scores.plot(at, f1, marker="o", markersize=3, label=f"held-out F1, {setting}")
        scores.fill_between(at, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    shown = [one for line in scores.get_lines() for one in line.get_ydata() if isfinite(one)]
    scores.set_ylim(min([0, *shown]), max([1, *shown]))  # rewards may be negative or above 1
    scores.set_ylabel("F1 · reward · probability")
    scores.legend(fontsize=8)
    searches.plot(steps, _column(train_rows, "searches_mean"), color="0.3")
    searches.set_ylabel("searches")
    searches.set_xlabel("step")
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def _column(rows: Rows, key: str) -> list[float]:
    """A column; null becomes NaN, a gap in the line."""
    return [float("nan") if row[key] is None else row[key] for row in rows]
