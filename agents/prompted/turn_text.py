"""Formats the turn of a prompted agent: a thought and one action that is never malformed.

The model's text is sanitized like a document, so that tags in it are not actions. Each part is
truncated, so that the turn stays within `zs_env.episode.Limits`.
"""

from __future__ import annotations

from zs_env.text.sanitize import sanitize

UNKNOWN = "unknown"
_MAX_THOUGHT, _MAX_QUERY, _MAX_ANSWER = 4000, 400, 400  # characters


def search_turn(query: str, thought: str = "") -> str:
    """Return a turn that searches; a blank query becomes "unknown"."""
    return f"{_thought(thought)}<search>{_line(query, _MAX_QUERY)}</search>"


def answer_turn(answer: str | None, thought: str = "") -> str:
    """Return a turn that answers; None or a blank answer becomes "unknown"."""
    return f"{_thought(thought)}<answer>{_line(answer or '', _MAX_ANSWER)}</answer>"


def _thought(thought: str) -> str:
    thought = sanitize(thought.strip()[:_MAX_THOUGHT])
    return f"<think>{thought}</think>\n" if thought else ""


def _line(text: str, max_chars: int) -> str:
    return sanitize(" ".join(text.split())[:max_chars]).strip() or UNKNOWN
