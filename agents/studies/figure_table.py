"""Tables of figures, narrow enough for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table


def figure_table(title: str, headers: Sequence[str], *, whole: str) -> Table:
    """Return a table without rows.

    Args:
        title: shown above.
        headers: one for each column.
        whole: header of the column that never wraps: means with their intervals.
    """
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for header in headers:
        table.add_column(header, no_wrap=header == whole, overflow="fold")
    return table
