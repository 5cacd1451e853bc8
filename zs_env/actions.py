"""Parses an agent's text into an action; every string gives a search, an answer or `Malformed`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

MalformedKind = Literal[
    "no_action", "unclosed", "unopened", "empty_query", "empty_answer", "spoofed_tag", "too_long"
]
MALFORMED_KINDS: tuple[MalformedKind, ...] = get_args(MalformedKind)

_CLOSING_TAG = re.compile(r"</(search|answer)>")
_SPOOFED_TAG = re.compile(r"</?information>")
_TAG_LENGTH = len("<search>")  # and of "<answer>"


@dataclass(frozen=True, slots=True)
class Search:
    """A search; `query` is not empty and has single spaces between words."""

    kind: ClassVar = "search"
    query: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, which ends the episode; `text` is not empty and has single spaces."""

    kind: ClassVar = "answer"
    text: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A text without a valid action; `kind` is the reason."""

    kind: MalformedKind


def parse_action(text: str, *, max_chars: int | None = None) -> Search | Answer | Malformed:
    """Parse an agent's text.

    The first `</search>` or `</answer>` ends the action. The content starts after the last opening
    tag of the same kind, so a tag that is only mentioned earlier has no effect. The text after the
    action is ignored. An `<information>` or `</information>` tag before the end of the action is
    Malformed("spoofed_tag"), because only the environment writes documents.

    Args:
        text: any string.
        max_chars: a longer text is Malformed("too_long"); None for no limit.
    """
    if max_chars is not None and len(text) > max_chars:
        return Malformed("too_long")
    search_end, answer_end = text.find("</search>"), text.find("</answer>")
    is_search = answer_end < 0 or 0 <= search_end < answer_end
    end = search_end if is_search else answer_end
    is_closed = end >= 0
    if not is_closed:
        end = len(text)
    if "information>" in text and _SPOOFED_TAG.search(text, 0, end):
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
    """Whether exactly one `<think>` block ends before the action of a text begins.

    The opening tag may be missing, because some chat templates add it to the prompt.
    """
    closing = _CLOSING_TAG.search(text)
    if closing is None:
        return False
    before = text[: max(text.rfind(f"<{closing[1]}>", 0, closing.start()), 0)]
    opened, closed = before.find("<think>"), before.find("</think>")
    return before.count("</think>") == 1 and before.count("<think>") <= 1 and opened < closed
