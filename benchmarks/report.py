"""Prints the figures of a benchmark as a table or as one JSON object."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case, measured here and in another package.

    Attributes:
        case: what was measured, and the other package.
        ours: our figure.
        peer: figure of the other package; None if it is not available.
        unit: of both figures.
    """

    case: str
    ours: float
    peer: float | None
    unit: str

    @property
    def ratio(self) -> float | None:
        """Our figure divided by that of the other package; None without one."""
        return self.ours / self.peer if self.peer else None


def print_rows(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print `{"rows": [{"case", "ours", "peer", "unit", "ratio"}]}`, or the same as a table."""
    if as_json:
        values = [
            {
                "case": row.case,
                "ours": row.ours,
                "peer": row.peer,
                "unit": row.unit,
                "ratio": row.ratio,
            }
            for row in rows
        ]
        print(json.dumps({"rows": values}))
        return
    table = Table("case", "ours", "peer", "unit", "ratio")
    for row in rows:
        figures = (f"{row.ours:,.4g}", _figure(row.peer), row.unit, _figure(row.ratio))
        table.add_row(row.case, *figures)
    Console().print(table)


def run_benchmark(about: str, measure: Callable[[], Sequence[Row]]) -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    print_rows(measure(), as_json=arguments.json)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"
