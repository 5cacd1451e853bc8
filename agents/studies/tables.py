"""Tables of figures, for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
