"""Tables of figures: on a terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table


def figure_table(
    title: str, headers: Sequence[str], rows: Iterable[Sequence[str]], *, no_wrap: str
) -> Table:
    """Return a table that fits into a terminal of 80 columns.

    Args:
        title: shown above.
        headers: one for each column.
        rows: one text for each column.
        no_wrap: header of the column that never wraps: means with their intervals.
    """
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for header in headers:
        table.add_column(header, no_wrap=header == no_wrap, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, num_text: int = 1
) -> str:
    """Return a Markdown table; columns after the first `num_text` are aligned to the right."""
    align = ["---"] * num_text + ["---:"] * (len(headers) - num_text)
    lines = [headers, align, *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines
    )


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Replace each interval of a row by three columns: NAME (the mean), NAME_low and NAME_high.

    Args:
        row: JSON values, with intervals as `Interval.to_json` returns them.
    """
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= {
                name: value["mean"],
                f"{name}_low": value["low"],
                f"{name}_high": value["high"],
            }
        else:
            flat[name] = value
    return flat


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of equal columns atomically; without rows, delete the file."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)
