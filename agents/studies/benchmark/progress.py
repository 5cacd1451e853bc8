"""What is shown while a benchmark is played: how far it is, how long it takes, what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.summary import Report
from agents.storage.plain_text import say
from agents.studies.benchmark.cell import Cell
from zs_env.search.prices import PriceTable
from zs_env.search.types import SearchCost


class BenchmarkProgress:
    """Counts the episodes of all cells; off a terminal it prints a line for each cell.

    Args:
        console: where to write.
        total: episodes of all cells.
        prices: of what searches take.
    """

    def __init__(self, console: Console, total: int, prices: PriceTable) -> None:
        self._console, self._total, self._prices = console, total, prices
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[spent]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not console.is_terminal,
            # Episodes end in bursts, as batches of searches do: the speed is that of ten minutes.
            speed_estimate_period=600,
        )
        self._task = self._progress.add_task("", total=total, spent="")
        self._cell = ""
        self._done = self._played = self._faults = 0
        self._earlier, self._running = Counter[str](), Counter[str]()

    def __enter__(self) -> BenchmarkProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, cell: Cell) -> None:
        """Show which cell is played now."""
        self._cell = str(cell)
        self._progress.update(self._task, description=self._cell)

    def found(self, total: int, done: int) -> None:
        """Count episodes of the cell that were played before."""
        self._done += done
        if done:  # what was found took no time and says nothing of speed: the clock starts anew
            self._progress.reset(self._task, completed=self._done, spent=self.spent())
        if 0 < done < total:
            say(
                self._console,
                f"{self._cell}: {done} of {total} episodes were played before; going on.",
            )

    def episode(self, result: EpisodeResult) -> None:
        """Count an episode that ended."""
        self._done += 1
        self._played += 1
        self._faults += result.failure is not None
        self._progress.update(self._task, completed=self._done, spent=self.spent())

    def costs(self, costs: Mapping[str, float]) -> None:
        """Take what the searches of the cell have cost so far."""
        self._running = Counter(costs)

    def end(self, report: Report) -> None:
        """Close the cell."""
        self._earlier.update(self._running)
        self._running = Counter()
        if not self._console.is_terminal:
            exact = report.metrics["exact_match"]
            told = f"{self._done}/{self._total}  {self._cell}: exact match {exact}"
            say(self._console, told)

    @property
    def total_costs(self) -> SearchCost:
        """What the searches of this session have cost."""
        return SearchCost(**(self._earlier + self._running))  # type: ignore[arg-type]

    def spent(self) -> str:
        """Searches and dollars so far, and the dollars that the whole may take at this rate."""
        costs = self.total_costs
        dollars = self._prices.dollars(costs)
        parts = [f"{costs.searches:,} searches"]
        if dollars and self._played:
            left = self._total - self._done
            expected = dollars * (1 + left / self._played)
            parts.append(f"${dollars:.4f} of about ${expected:.4f}")
        if self._faults:
            parts.append(f"{self._faults} failures")
        return ", ".join(parts)
