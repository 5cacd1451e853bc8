"""Parses an agent's text into an action; every string gives an action or `Malformed`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from zs_env.text.suggestions import check_names

Tool = Literal["search", "open"]
TOOLS: tuple[Tool, ...] = get_args(Tool)
DEFAULT_TOOLS: tuple[Tool, ...] = ("search",)
# Malformed opens; they occur only with the tool "open".
OpenError = Literal["invalid_open", "no_page", "unknown_document", "unknown_part", "cannot_open"]
MalformedKind = Literal[
    "no_action",
    "unclosed",
    "unopened",
    "empty_query",
    "empty_answer",
    "spoofed_tag",
    "too_long",
    "too_many_queries",
    OpenError,
]
OPEN_ERRORS: tuple[OpenError, ...] = get_args(OpenError)
MALFORMED_KINDS: tuple[MalformedKind, ...] = get_args(MalformedKind)

_SPOOFED_TAG = re.compile(r"</?information>")
_OPENED = re.compile(r"\s*([0-9]{1,9})(?:\s+p([0-9]{1,9}))?\s*")


@dataclass(frozen=True, slots=True)
class Search:
    """A search; `query` has one query a line, not empty and with single spaces between words."""

    kind: ClassVar = "search"
    query: str


@dataclass(frozen=True, slots=True)
class Open:
    """A request for a document of the last page in full.

    Attributes:
        document: number of the document on its page, from 1.
        part: number of the part of a long document, from 1.
    """

    kind: ClassVar = "open"
    document: int
    part: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, which ends the episode; `text` is not empty and has single spaces."""

    kind: ClassVar = "answer"
    text: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A text without a valid action; `kind` is the reason."""

    kind: MalformedKind


Action = Search | Open | Answer | Malformed


def build_tools(tools: Sequence[str] | str) -> tuple[Tool, ...]:
    """Return the names of tools in the order of `TOOLS`; a text has them between commas.

    Raises:
        ValueError: if a name is unknown or "search" is missing.
    """
    names = tools.replace(" ", "").split(",") if isinstance(tools, str) else list(tools)
    check_names("tool", names, TOOLS)
    if "search" not in names:
        raise ValueError(f"got tools={tools!r}, expected 'search', and also 'open' if wanted")
    return tuple(tool for tool in TOOLS if tool in names)


def parse_action(
    text: str,
    *,
    max_chars: int | None = None,
    tools: Sequence[Tool] = DEFAULT_TOOLS,
    max_queries: int = 1,
) -> Action:
    """Parse an agent's text.

    The first closing tag of a tool or `</answer>` ends the action. The content starts after the
    last opening tag of the same kind, so a tag that is only mentioned earlier has no effect. The
    text after the action is ignored. An `<information>` or `</information>` tag before the end of
    the action is Malformed("spoofed_tag"), because only the environment writes documents.

    Args:
        text: any string.
        max_chars: a longer text is Malformed("too_long"); None for no limit.
        tools: the tools of the agent; the tags of others are ordinary text.
        max_queries: most queries of a search. If it is above 1, each line is a query, and repeated
            ones count once; otherwise the whole content is the query.
    """
    if max_chars is not None and len(text) > max_chars:
        return Malformed("too_long")
    tags = (*tools, "answer")
    ends = [(end, tag) for tag in tags if (end := text.find(f"</{tag}>")) >= 0]
    end, tag = min(ends) if ends else (len(text), "")
    if "information>" in text and _SPOOFED_TAG.search(text, 0, end):
        return Malformed("spoofed_tag")
    if not tag:
        return Malformed("unclosed" if any(f"<{one}>" in text for one in tags) else "no_action")
    opening = text.rfind(f"<{tag}>", 0, end)
    if opening < 0:
        return Malformed("unopened")
    content = text[opening + len(tag) + 2 : end]
    if tag == "open":
        opened = _OPENED.fullmatch(content)
        return Open(int(opened[1]), int(opened[2] or 1)) if opened else Malformed("invalid_open")
    if tag == "search" and max_queries > 1:
        lines = dict.fromkeys(" ".join(line.split()) for line in content.splitlines())
        queries = [line for line in lines if line]
        if len(queries) > max_queries:
            return Malformed("too_many_queries")
        return Search("\n".join(queries)) if queries else Malformed("empty_query")
    content = " ".join(content.split())
    if tag == "search":
        return Search(content) if content else Malformed("empty_query")
    return Answer(content) if content else Malformed("empty_answer")


def thinks_before_acting(text: str, *, tools: Sequence[Tool] = DEFAULT_TOOLS) -> bool:
    """Whether exactly one `<think>` block ends before the action of a text begins.

    The opening tag may be missing, because some chat templates add it to the prompt.
    """
    closing = re.search(f"</({'|'.join((*tools, 'answer'))})>", text)
    if closing is None:
        return False
    before = text[: max(text.rfind(f"<{closing[1]}>", 0, closing.start()), 0)]
    opened, closed = before.find("<think>"), before.find("</think>")
    return before.count("</think>") == 1 and before.count("<think>") <= 1 and opened < closed
