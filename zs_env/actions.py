"""What an agent's text does: a search, an answer, or nothing that counts.

Parsing is total: any string gives exactly one of the three.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

MalformedKind = Literal[
    "no_action", "unclosed", "unopened", "empty_query", "empty_answer", "spoofed_tag", "too_long"
]
MALFORMED_KINDS: tuple[MalformedKind, ...] = get_args(MalformedKind)

_CLOSING_TAG = re.compile(r"</(search|answer)>")
_FORGED_TAG = re.compile(r"</?information>")
_TAG_LENGTH = len("<search>")  # and of "<answer>"


@dataclass(frozen=True, slots=True)
class Search:
    """The agent asks the search engine; `query` has single spaces and is not empty."""

    query: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The agent ends the episode; `text` is stripped and not empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """The text holds no action that can be carried out; `kind` says why."""

    kind: MalformedKind


def parse_action(text: str, *, max_chars: int | None = None) -> Search | Answer | Malformed:
    """Read the action in an agent's text.

    The first `</search>` or `</answer>` acts. Its content runs from the last opening tag of its
    kind before it, so a tag that is merely mentioned earlier swallows nothing; what follows is
    ignored. An `<information>` or `</information>` before its end is forged: only the environment
    writes documents.

    Args:
        text: any string.
        max_chars: longer texts are Malformed("too_long"); None for no limit.
    """
    if max_chars is not None and len(text) > max_chars:
        return Malformed("too_long")
    search_end, answer_end = text.find("</search>"), text.find("</answer>")
    is_search = answer_end < 0 or 0 <= search_end < answer_end
    end = search_end if is_search else answer_end
    is_closed = end >= 0
    if not is_closed:
        end = len(text)
    if "information>" in text and _FORGED_TAG.search(text, 0, end):
        return Malformed("spoofed_tag")
    if not is_closed:
        return Malformed("unclosed" if "<search>" in text or "<answer>" in text else "no_action")
    opening = text.rfind("<search>" if is_search else "<answer>", 0, end)
    if opening < 0:
        return Malformed("unopened")
    content = " ".join(text[opening + _TAG_LENGTH : end].split())
    if is_search:
        return Search(content) if content else Malformed("empty_query")
    return Answer(content) if content else Malformed("empty_answer")


def thinks_before_acting(text: str) -> bool:
    """Whether one `<think>` is closed before the action of a text begins.

    The opening tag may be missing: some chat templates write it into the prompt.
    """
    closing = _CLOSING_TAG.search(text)
    if closing is None:
        return False
    before = text[: max(text.rfind(f"<{closing[1]}>", 0, closing.start()), 0)]
    opened, closed = before.find("<think>"), before.find("</think>")
    return before.count("</think>") == 1 and before.count("<think>") <= 1 and opened < closed
