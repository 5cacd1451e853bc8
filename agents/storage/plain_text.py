"""What a command says on a terminal word for word: names and paths may look like markup."""

from __future__ import annotations

from rich.console import Console


def say(console: Console, text: str, *, style: str | None = None) -> None:
    """Print a text as it stands: nothing in it is markup, and no line is broken in two."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
