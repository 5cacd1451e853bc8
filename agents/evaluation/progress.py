"""Progress bars and plain lines on a terminal, for evaluations, benchmarks and training."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agents.evaluation.episode_result import EpisodeResult
from zs_env.rendering import encodable


def print_plain(console: Console, text: str, *, style: str | None = None) -> None:
    """Print a text literally: no markup in it is interpreted, and no line is wrapped.

    Names, paths and error messages may contain what looks like markup, and characters that the
    terminal cannot encode.
    """
    text = encodable(text, console.encoding)
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


class ProgressBar:
    """A progress bar with a status text. On anything but a terminal the bar is not drawn.

    Args:
        console: where it is drawn.
        description: what is counted.
        total: number of items; None until `start` sets it.
        completed: items that an earlier session completed.
        speed_period_s: seconds over which the speed is averaged, for the remaining time.
        print_updates: print a line for each `update` if the console is not a terminal.
    """

    def __init__(
        self,
        console: Console,
        description: str = "episodes",
        *,
        total: int | None = None,
        completed: int = 0,
        speed_period_s: float = 30.0,
        print_updates: bool = False,
    ) -> None:
        self.console = console
        self._description, self._total = encodable(description, console.encoding), total
        self._print_updates = print_updates and not console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[status]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=speed_period_s,
        )
        self._task = self._progress.add_task(
            self._description, total=total, completed=completed, status=""
        )
        self._f1_sum, self._num_scored = 0.0, 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, total: int, completed: int) -> None:
        """Set the total, and report the episodes that an earlier session played."""
        if completed:
            self.print(
                f"{self._description}: {completed} of {total} episodes were played before; "
                "playing the others"
            )
        self._progress.update(self._task, total=total, completed=completed)

    def episode(self, result: EpisodeResult) -> None:
        """Count an episode; the status is the mean F1 of the episodes without a failure."""
        if result.failure is None:
            self._f1_sum += result.f1
            self._num_scored += 1
        status = f"f1 {self._f1_sum / self._num_scored:.3f}" if self._num_scored else ""
        self._progress.update(self._task, advance=1, status=status)

    def update(self, completed: int, status: str, *, description: str | None = None) -> None:
        """Set the number of completed items and the status."""
        status = encodable(status, self.console.encoding)
        self._progress.update(
            self._task, completed=completed, status=status, description=description
        )
        if self._print_updates:
            self.print(f"{self._description} {completed}/{self._total}  {status}")

    def restart(self, completed: int, status: str) -> None:
        """Set the number of completed items without counting them into the speed."""
        self._progress.reset(self._task, completed=completed, status=status)

    def print(self, text: str, *, style: str | None = None) -> None:
        """Print a line literally, above the bar."""
        print_plain(self.console, text, style=style)
