"""Shows an episode on a terminal while it is played: thoughts, searches, pages, answer, sources.

Colours mark the kinds of text. Control sequences in the text of a model or a page are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from agents.ask.reply import Reply, Source
from zs_env.rendering import encodable, printable
from zs_env.search.types import Document

_MAX_SHOWN = 240  # characters of a document
_STYLES = {
    "think": "dim italic",
    "search": "bold yellow",
    "open": "bold yellow",
    "answer": "bold green",
}


class View:
    """Shows one episode on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._turn = ""

    def question(self, text: str) -> None:
        self._print(text, "bold", end="\n\n")

    def piece(self, text: str) -> None:
        """Show a piece of the agent's text; tags in it change the colour."""
        start = len(self._turn)
        self._turn += text
        while start < len(self._turn):
            close = self._turn.find(">", start)
            end = len(self._turn) if close < 0 else close + 1
            self._print(self._turn[start:end], self._style(self._turn[:end]))
            start = end

    def page(self, documents: Sequence[Document], message: str) -> None:
        """Show the page or message that follows a turn."""
        self._end_turn()
        for document in documents:
            self._print(f"  {document.rank + 1}  {_short(document.title, document.text)}", "cyan")
            self._print("\n")
        if not documents:
            self._print(f"  {_short('', message.strip())}\n", "cyan")
        self._print("\n")

    def reply(self, reply: Reply) -> None:
        """Show the end of the episode, and the sources of its answer."""
        self._end_turn()
        if reply.failure is not None:
            self._print(f"\nThe episode failed: {reply.failure}\n", "bold red")
        elif reply.answer is None:
            self._print(f"\nNo answer within {reply.turns} turns.\n", "bold red")
        else:
            self._print(f"\nAnswer: {reply.answer}\n", "bold green")
        if reply.sources:
            cited = any(source.contains_answer for source in reply.sources)
            self._print(
                "\nSources that contain the answer:\n" if cited else "\nDocuments:\n", "bold"
            )
            for source in reply.sources:
                self._print(f"  {_citation(source)}\n")

    def _end_turn(self) -> None:
        if self._turn and not self._turn.endswith("\n"):
            self._print("\n")
        self._turn = ""

    def _style(self, turn: str) -> str:
        """Return the style of the end of a turn's text."""
        for name, style in _STYLES.items():
            opened, closed = turn.rfind(f"<{name}>"), turn.rfind(f"</{name}>")
            if opened > closed or (closed >= 0 and turn.endswith(f"</{name}>")):
                return style
        return ""

    def _print(self, text: str, style: str = "", end: str = "") -> None:
        self._console.print(
            Text(encodable(printable(text), self._console.encoding), style=style),
            end=end,
            soft_wrap=True,
        )


def _short(title: str, text: str) -> str:
    line = " ".join(f"{title}: {text}".split()) if title else " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN else f"{line[: _MAX_SHOWN - 3]}..."


def _citation(source: Source) -> str:
    place = f"search {source.search}, document {source.rank}"
    engine = f", {source.engine}" if source.engine else ""
    return f"[{place}{engine}] {_short(source.title, source.text)}"
