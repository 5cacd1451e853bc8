"""What a prompted agent did before, read back from the transcript, so that it keeps no state.

It is read from the end: what the prompt says of tags is then never taken for a turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PAGE_START, _PAGE_END = "\n\n<information>\n", "\n</information>\n\n"


@dataclass(frozen=True, slots=True)
class PastSearch:
    """One search as the agent wrote it, and what came back.

    Attributes:
        thought: what stood before it; "" where nothing did.
        query: what was looked up.
        page: its documents, a line each.
    """

    thought: str
    query: str
    page: str


def is_first(observation: Mapping[str, Any]) -> bool:
    """Whether nobody has acted yet."""
    return observation["message"] == observation["transcript"]


def past_searches(observation: Mapping[str, Any]) -> tuple[PastSearch, ...]:
    """Return the searches that end the transcript, the oldest first.

    What stands before a notice, which an agent of this package gets only where `Limits` are very
    small, is not found.
    """
    text, past = observation["transcript"], list[PastSearch]()
    while text.endswith(_PAGE_END):
        before, _, page = text.removesuffix(_PAGE_END).rpartition(_PAGE_START)
        if not before.endswith("</search>"):
            break
        before, _, query = before.removesuffix("</search>").rpartition("<search>")
        thought = ""
        if before.endswith("</think>\n"):
            before, _, thought = before.removesuffix("</think>\n").rpartition("<think>")
        past.append(PastSearch(thought, query, page))
        text = before
    return tuple(reversed(past))


def as_notes(past: Sequence[PastSearch], max_chars: int) -> str:
    """Put searches, what was thought before them and their pages into words.

    Args:
        past: the oldest first.
        max_chars: room for the pages; those of the oldest searches are left out where it is short,
            and the newest is cut.
    """
    room, notes = max_chars, list[str]()
    for search in reversed(past):
        page = search.page if len(search.page) <= room else "(no longer shown)"
        if not notes and len(search.page) > room:
            page = search.page[:room]
        room = max(room - len(page), 0)
        thought = f"{search.thought}\n" if search.thought else ""
        notes.append(f"{thought}Search: {search.query}\n{page}")
    return "\n".join(reversed(notes))
