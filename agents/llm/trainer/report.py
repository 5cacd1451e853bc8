"""Output of a training run: one line for each step and evaluation, and tables of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

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
    table = Table(title=f"F1 on {episodes} held-out questions (95% interval)")
    for column in ("setting", "before", "after", "oracle", "searches", "answered"):
        table.add_column(column, justify="left" if column == "setting" else "right")
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
    table = Table(title=f"F1 by structure, {after[0]['setting']}")
    for column in ("structure", "questions", "before", "after"):
        table.add_column(column, justify="left" if column == "structure" else "right")
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


def _interval(row: Mapping[str, Any]) -> str:
    return f"{row['f1']:.3f} [{row['f1_low']:.3f}, {row['f1_high']:.3f}]"
