"""One agent on one set, once: an evaluation with a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.storage.folder_name import folder_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the table, and one repeat of it.

    Attributes:
        agent: what tables call it.
        set_name: name of the question set.
        repeat: from 0.
    """

    agent: str
    set_name: str
    repeat: int = 0

    def __str__(self) -> str:
        repeat = f", repeat {self.repeat}" if self.repeat else ""
        return f"{self.agent} on {self.set_name}{repeat}"

    def folder(self, output: Path) -> Path:
        """Where its evaluation is kept."""
        return output / "evaluations" / folder_name(self.agent) / self.set_name / str(self.repeat)
