"""Parses the earlier searches of a prompted agent from the transcript, so that it keeps no state.

The transcript is parsed from its end, so that tags in the prompt are never taken for a turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PAGE_START, _PAGE_END = "\n\n<information>\n", "\n</information>\n\n"


@dataclass(frozen=True, slots=True)
class PastSearch:
    """An earlier search and its result.

    Attributes:
        thought: the text before the query; may be empty.
        query: the query.
        page: the documents, one per line.
    """

    thought: str
    query: str
    page: str


def is_first(observation: Mapping[str, Any]) -> bool:
    """Whether this is the first observation of an episode."""
    return observation["message"] == observation["transcript"]


def past_searches(observation: Mapping[str, Any]) -> tuple[PastSearch, ...]:
    """Return the searches at the end of the transcript, oldest first.

    Searches before a notice are not returned. Agents of this package get notices only if `Limits`
    are very small.
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
    """Format searches with their thoughts and pages.

    Args:
        past: searches, oldest first.
        max_chars: maximum total length of the pages. The pages of the oldest searches are dropped
            first; the newest page is truncated.
    """
    remaining, notes = max_chars, list[str]()
    for search in reversed(past):
        page = search.page if len(search.page) <= remaining else "(no longer shown)"
        if not notes and len(search.page) > remaining:
            page = search.page[:remaining]
        remaining = max(remaining - len(page), 0)
        thought = f"{search.thought}\n" if search.thought else ""
        notes.append(f"{thought}Search: {search.query}\n{page}")
    return "\n".join(reversed(notes))
