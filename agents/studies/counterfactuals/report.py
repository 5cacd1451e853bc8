"""Mean effects of flipped pages on the reward, by direction and by turn."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from agents.evaluation.statistics import Interval, bootstrap_ratio
from agents.studies.counterfactuals.flip_pages import FlippedPage
from agents.studies.tables import figure_table, write_csv


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanDifference:
    """The mean effect of flipping pages in one direction.

    Attributes:
        turn: number of the pages' turn; None for all turns.
        difference: mean change of the reward. The interval resamples questions, since pages of one
            question are not independent.
        changed: share of the pages whose flip changed the reward.
    """

    direction: str
    turn: int | None
    pages: int
    difference: Interval
    changed: float

    @classmethod
    def of(cls, direction: str, turn: int | None, pages: Sequence[FlippedPage]) -> MeanDifference:
        """Average one or more pages without failures."""
        counts = Counter(page.index for page in pages)
        sums: dict[int, float] = defaultdict(float)
        for page in pages:
            sums[page.index] += page.difference or 0.0
        return cls(
            direction=direction,
            turn=turn,
            pages=len(pages),
            difference=bootstrap_ratio([sums[index] for index in counts], list(counts.values())),
            changed=sum(bool(page.difference) for page in pages) / len(pages),
        )


class CounterfactualReport:
    """The results of flipping the pages of an evaluation.

    Args:
        pages: by question and turn, including those with failures.

    Attributes:
        means: of each direction over all turns, then by turn; without failures.
        num_failures: number of flips that a failure ended.
        num_same: number of flips for which the engine returned the same page.
    """

    def __init__(self, pages: Sequence[FlippedPage]) -> None:
        self.pages = pages
        valid = [page for page in pages if page.failure is None]
        self.num_failures = len(pages) - len(valid)
        self.num_same = sum(page.same_page for page in valid)
        groups: dict[tuple[str, int | None], list[FlippedPage]] = defaultdict(list)
        for page in valid:
            groups[page.direction, None].append(page)
            groups[page.direction, page.turn].append(page)
        order = sorted(groups, key=lambda key: (key[0], -1 if key[1] is None else key[1]))
        self.means = [MeanDifference.of(*key, pages=groups[key]) for key in order]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values, without the single pages."""
        return {
            "pages": len(self.pages),
            "failures": self.num_failures,
            "same_page": self.num_same,
            "means": [asdict(mean) for mean in self.means],
        }

    def table(self) -> Table:
        """Return the means as a table."""
        rows = [
            (
                mean.direction,
                "all" if mean.turn is None else mean.turn,
                mean.pages,
                mean.difference,
                f"{mean.changed:.3f}",
            )
            for mean in self.means
        ]
        headers = ["direction", "turn", "pages", "mean change", "share with a change"]
        title = "Change of the reward by flipping a page, with 95 % intervals"
        return figure_table(title, headers, rows, no_wrap="mean change")

    def write_csv(self, folder: Path) -> None:
        """Write one file with a row for each page, and one with a row for each mean."""
        pages = [{**asdict(page), "difference": page.difference} for page in self.pages]
        write_csv(folder / "pages.csv", pages)
        write_csv(folder / "means.csv", map(asdict, self.means))
