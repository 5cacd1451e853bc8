"""What a person sees of a run: a live line while it trains, and tables before and after.

All of it goes to standard error, so that standard output stays free for `--json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from zs_env.transcripts.transcript import Transcript

Rows = Sequence[Mapping[str, Any]]


class TrainProgress:
    """Shows steps as they end; on a terminal in one live line, elsewhere one line each.

    Args:
        total_steps: steps of the run.
        done: steps made before this process.
        console: where to write; standard error by default.
    """

    def __init__(self, total_steps: int, *, done: int = 0, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._total = total_steps
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task("", total=total_steps, completed=done, numbers="")

    def __enter__(self) -> TrainProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self, step: int, row: Mapping[str, Any]) -> None:
        """Show that `step` steps are done, with the last one's metrics."""
        numbers = "  ".join(
            f"{label} {row[key]:.3f}"
            for label, key in (
                ("reward", "reward_mean"),
                ("searches", "searches_mean"),
                ("noise", "noise_probability"),
                ("entropy", "entropy"),
                ("grad", "grad_norm"),
                ("rollout s", "rollout_seconds"),
                ("update s", "update_seconds"),
            )
            if isinstance(row.get(key), float)
        )
        self._progress.update(self._task, completed=step, numbers=numbers)
        if not self.console.is_terminal:
            self.note(f"step {step}/{self._total}  {numbers}")

    def note(self, text: str) -> None:
        """Print a line above the live one."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def evaluation(self, step: int, rows: Rows) -> None:
        """Print an evaluation as one line."""
        scores = "  ".join(f"{row['setting']} {row['f1']:.3f}" for row in rows)
        self.note(f"evaluation after {step} steps, held-out F1:  {scores}")


def before_after_table(before: Rows, after: Rows, oracle: Mapping[str, float]) -> Table:
    """F1 with its interval before and after, one line per setting.

    Args:
        before: evaluation rows of the policy as it started.
        after: evaluation rows of the policy as it ended; the same settings in the same order.
        oracle: F1 of a scripted agent that follows every hop, by setting.
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
    """F1 before and after by structure of the question, in the first setting."""
    table = Table(title=f"F1 by structure, {after[0]['setting']}")
    for column in ("structure", "questions", "before", "after"):
        table.add_column(column, justify="left" if column == "structure" else "right")
    for name, new in after[0]["structures"].items():
        old = before[0]["structures"].get(name, {"f1": float("nan")})
        table.add_row(name, str(new["episodes"]), f"{old['f1']:.3f}", f"{new['f1']:.3f}")
    return table


def transcript_table(transcripts: Sequence[Transcript]) -> Table:
    """Questions, what was done about them, and the answers."""
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
