"""Tables of figures: on a terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from agents.storage.output_folder import atomic_path


def figure_table(
    title: str, headers: Sequence[str], rows: Iterable[Sequence[object]], *, no_wrap: str
) -> Table:
    """Return a table that fits into a terminal of 80 columns; column `no_wrap` never wraps."""
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
        table.add_row(*map(str, row))
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


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows of equal columns atomically; without rows, delete the file.

    An interval, as a mapping, becomes three columns: NAME (the mean), NAME_low and NAME_high.
    """
    flat = [_flat_row(row) for row in rows]
    if not flat:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, flat[0])
        writer.writeheader()
        writer.writerows(flat)


def _flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat[name] = value["mean"]
            flat |= {f"{name}_{end}": value[end] for end in ("low", "high")}
        else:
            flat[name] = value
    return flat
