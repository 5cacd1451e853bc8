"""What a prompted agent acts with: its thought, and one action that is never malformed.

The model's words are made neutral like a document's, so a tag among them is no action, and each
part is cut, so that the whole stays within `zs_env.episode.Limits`.
"""

from __future__ import annotations

from zs_env.text.sanitize import sanitize

UNKNOWN = "unknown"
_MAX_THOUGHT, _MAX_QUERY, _MAX_ANSWER = 4000, 400, 400  # characters


def search_turn(query: str, thought: str = "") -> str:
    """Return a turn that searches; what is blank is searched as "unknown"."""
    return f"{_thought(thought)}<search>{_line(query, _MAX_QUERY)}</search>"


def answer_turn(answer: str | None, thought: str = "") -> str:
    """Return a turn that answers; None and what is blank answer "unknown"."""
    return f"{_thought(thought)}<answer>{_line(answer or '', _MAX_ANSWER)}</answer>"


def _thought(thought: str) -> str:
    thought = sanitize(thought.strip()[:_MAX_THOUGHT])
    return f"<think>{thought}</think>\n" if thought else ""


def _line(text: str, max_chars: int) -> str:
    return sanitize(" ".join(text.split())[:max_chars]).strip() or UNKNOWN
