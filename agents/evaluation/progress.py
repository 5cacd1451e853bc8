"""How far an evaluation has come, on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agents.evaluation.episode_result import EpisodeResult


class EpisodeBar:
    """Episodes played so far, with their running F1; nothing where there is no terminal.

    Args:
        console: where it is drawn.
        label: what is played, where there is more than one thing.
    """

    def __init__(self, console: Console, label: str | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[scores]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._console, self._prefix = console, f"{label}: " if label else ""
        self._task = self._progress.add_task(label or "episodes", total=None, scores="")
        self._sum, self._sound = 0.0, 0

    def __enter__(self) -> EpisodeBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, total: int, done: int) -> None:
        if done:
            self._console.print(
                f"{self._prefix}{done} of {total} episodes were played before; going on.",
                markup=False,
                highlight=False,
            )
        self._progress.update(self._task, total=total, completed=done)

    def episode(self, result: EpisodeResult) -> None:
        if result.failure is None:
            self._sum += result.f1
            self._sound += 1
        f1 = f"f1 {self._sum / self._sound:.3f}" if self._sound else ""
        self._progress.update(self._task, advance=1, scores=f1)
