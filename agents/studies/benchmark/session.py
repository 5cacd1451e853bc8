"""Progress and costs of one session of a benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rich.console import Console

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.progress import ProgressBar
from agents.evaluation.summary import Report
from zs_env.search.prices import PriceTable
from zs_env.search.types import SearchCost

# Episodes end in bursts, as batches of searches do, so the speed is averaged over ten minutes.
_SPEED_PERIOD_S = 600.0


class BenchmarkSession:
    """Counts episodes and costs over all cells; off a terminal it prints one line a cell.

    Args:
        console: where to write.
        total: episodes of all cells.
        prices: of searches.
    """

    def __init__(self, console: Console, total: int, prices: PriceTable) -> None:
        self._bar = ProgressBar(console, "", total=total, speed_period_s=_SPEED_PERIOD_S)
        self._total, self._prices = total, prices
        self._cell = ""
        self._completed = self._played = self._failures = 0
        self._earlier_costs, self._cell_costs = Counter[str](), Counter[str]()

    def __enter__(self) -> BenchmarkSession:
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()

    def begin_cell(self, cell: str) -> None:
        """Show the name of the cell that is played next."""
        self._cell = cell
        self._bar.update(self._completed, self.summary(), description=cell)

    def start_cell(self, total: int, completed: int) -> None:
        """Count the episodes of the cell that an earlier session played."""
        self._completed += completed
        if completed:
            self._bar.restart(self._completed, self.summary())
        if 0 < completed < total:
            self._bar.print(
                f"{self._cell}: {completed} of {total} episodes were played before; "
                "playing the others"
            )

    def episode(self, result: EpisodeResult) -> None:
        """Count an episode that ended."""
        self._completed += 1
        self._played += 1
        self._failures += result.failure is not None
        self._bar.update(self._completed, self.summary())

    def costs(self, costs: Mapping[str, float]) -> None:
        """Set the costs of the cell's searches so far."""
        self._cell_costs = Counter(costs)

    def end_cell(self, report: Report) -> None:
        """Add the costs of the cell to those of the session."""
        self._earlier_costs.update(self._cell_costs)
        self._cell_costs = Counter()
        if not self._bar.console.is_terminal:
            exact_match = report.metrics["exact_match"]
            self._bar.print(
                f"{self._completed}/{self._total}  {self._cell}: exact match {exact_match}"
            )

    @property
    def total_costs(self) -> SearchCost:
        """Costs of the searches of this session."""
        return SearchCost(**(self._earlier_costs + self._cell_costs))  # type: ignore[arg-type]

    def summary(self) -> str:
        """Return searches and dollars so far, and the expected dollars of the whole benchmark."""
        costs = self.total_costs
        dollars = self._prices.dollars(costs)
        parts = [f"{costs.searches:,} searches"]
        if dollars and self._played:
            expected = dollars * (1 + (self._total - self._completed) / self._played)
            parts.append(f"${dollars:.4f} of about ${expected:.4f}")
        if self._failures:
            parts.append(f"{self._failures} failures")
        return ", ".join(parts)
