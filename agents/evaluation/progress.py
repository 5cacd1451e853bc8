"""Progress bars on a terminal, lines in a log file, for everything that takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
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


_FIRST_LINE_S = 5.0
_LINE_EVERY_S = 30.0
_CHECK_EVERY_S = 0.5


class ProgressBar:
    """A progress bar with a status text.

    On anything but a terminal the bar is not drawn. A line is printed instead after five seconds
    and then every 30 seconds, also while no item is completed.

    Args:
        console: where it is drawn.
        description: what is counted.
        total: number of items; None until `start` sets it.
        completed: items that an earlier session completed.
        speed_period_s: seconds over which the speed is averaged, for the remaining time.
        print_updates: print a line for each `update` if the console is not a terminal.
        clock: returns seconds.
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
        clock: Callable[[], float] = time.monotonic,
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
        self._clock, self._started_s = clock, clock()
        self._due_s = self._started_s + _FIRST_LINE_S
        self._lock, self._ended = threading.Lock(), threading.Event()

    def __enter__(self) -> Self:
        self._progress.start()
        if not self.console.is_terminal and not self.console.quiet:
            threading.Thread(target=self._print_lines, name="progress", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._progress.stop()

    def _print_lines(self) -> None:
        while not self._ended.wait(_CHECK_EVERY_S):
            self.print_if_due()

    def print_if_due(self) -> None:
        """Print a line for a log file if none was printed for 30 seconds, or 5 at the start."""
        with self._lock:
            now_s = self._clock()
            if now_s < self._due_s or self._ended.is_set():
                return
            self._due_s = now_s + _LINE_EVERY_S
        task = self._progress.tasks[0]
        total = "" if task.total is None else f"/{task.total:.0f}"
        count = f" {task.completed:.0f}{total}" if task.total or task.completed else ""
        status = f"  {task.fields['status']}" if task.fields["status"] else ""
        self.print(f"{task.description}{count}, {now_s - self._started_s:.0f} s{status}")

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

    def update(
        self,
        completed: int,
        status: str = "",
        *,
        description: str | None = None,
        total: int | None = None,
    ) -> None:
        """Set the number of completed items, the status, and what is counted unless it is None."""
        status = encodable(status, self.console.encoding)
        if description is not None:
            self._description = encodable(description, self.console.encoding)
        self._progress.update(
            self._task,
            completed=completed,
            status=status,
            description=self._description,
            total=total,
        )
        if self._print_updates:
            with self._lock:
                self._due_s = self._clock() + _LINE_EVERY_S
            self.print(f"{self._description} {completed}/{self._total}  {status}")

    def begin(self, description: str, total: int | None = None) -> None:
        """Begin to count something else."""
        self._description = encodable(description, self.console.encoding)
        self._progress.reset(self._task, description=self._description, status="")
        self._progress.tasks[0].total = total

    def count(self, description: str, completed: int, total: int | None) -> None:
        """Set what is counted, and how many items are completed."""
        if description != self._description:
            self.begin(description, total)
        self.update(completed, total=total)

    def restart(self, completed: int, status: str) -> None:
        """Set the number of completed items without counting them into the speed."""
        self._progress.reset(self._task, completed=completed, status=status)

    def print(self, text: str, *, style: str | None = None) -> None:
        """Print a line literally, above the bar."""
        print_plain(self.console, text, style=style)
