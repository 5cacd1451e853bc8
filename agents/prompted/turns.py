"""Formats the turns of a prompted agent, and parses them from the transcript.

A turn is a thought and one action that is never malformed. The model's text is sanitized like a
document, so that tags in it are not actions. Each part is truncated, so that the turn stays within
`zs_env.episode.Limits`. Agents keep no state: they parse their earlier searches from the end of the
transcript, so that tags in the prompt are never taken for a turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zs_env.text.sanitize import sanitize_open
from zs_env.text.thinking import split_thinking

_UNKNOWN = "unknown"
_MAX_THOUGHT, _MAX_QUERY, _MAX_ANSWER = 4000, 400, 400  # characters
STOP_SEQUENCES = ("</search>", "</answer>")
_CLOSING, _OPENING = re.compile("|".join(STOP_SEQUENCES)), re.compile("<(search|answer)>")
_PAGE_START, _PAGE_END = "\n\n<information>\n", "\n</information>\n\n"


def search_turn(query: str, thought: str = "") -> str:
    """Return a turn that searches; a blank query becomes "unknown"."""
    return f"{_thought(thought)}<search>{_line(query, _MAX_QUERY)}</search>"


def answer_turn(answer: str | None, thought: str = "") -> str:
    """Return a turn that answers; None or a blank answer becomes "unknown"."""
    return f"{_thought(thought)}<answer>{_line(answer or '', _MAX_ANSWER)}</answer>"


def protocol_turn(completion: str) -> str:
    """Return the turn of a model that writes the tags of actions itself.

    It ends at the first closing tag of an action. If the server has removed this tag as a stop
    sequence, it is added. A text without an action is returned as it is.
    """
    thinking, response = split_thinking(completion)
    response = response.strip()
    if closed := _CLOSING.search(response):
        response = response[: closed.end()]
    elif opened := list(_OPENING.finditer(response)):
        response += f"</{opened[-1][1]}>"
    return f"{_thought(thinking)}{response}"


def _thought(thought: str) -> str:
    thought = sanitize_open(thought.strip()[:_MAX_THOUGHT])
    return f"<think>{thought}</think>\n" if thought else ""


def _line(text: str, max_chars: int) -> str:
    return sanitize_open(" ".join(text.split())[:max_chars]).strip() or _UNKNOWN


@dataclass(frozen=True, slots=True)
class PastSearch:
    """An earlier search, with its thought and its page of one document per line."""

    thought: str
    query: str
    page: str


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
