"""Parses answers, searches and thoughts from free text of a language model.

Any text can be parsed; the result may be None.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from zs_env.text.thinking import split_thinking

_TAGGED = re.compile(r"<(search|answer)>(.*?)</\1>", re.DOTALL)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
# A line such as "**Final answer:** Paris" or "2. Search query: who"; `word` is the label.
_LABEL = (
    r"^[^\w\n]*(?:(?:next[ \t]+)?step[ \t]*\d*[^\w\n]+)?(?:\d+[^\w\n]+)?"
    r"(?:(?:the|my|so|final|short|correct)[ \t]+)*{word}[ \t]*(?:is)?[^\w\n]*?[:\uff1a]"
)
_FLAGS = re.IGNORECASE | re.MULTILINE
_ANSWER_LINE = re.compile(_LABEL.format(word="answer"), _FLAGS)
_MOVE_LINE = re.compile(_LABEL.format(word=r"(search|answer)(?:[ \t]+(?:query|for))?"), _FLAGS)
_ANSWER_IS = re.compile(
    r"\banswer(?:[ \t]+to[ \t]+(?:this|the|your)[ \t]+question)? is:?[ \t]+(\S.*)", re.IGNORECASE
)
_TAG = re.compile(r"</?(?:think|search|answer)>")
_MARKUP = " \t\r\n*_`\"'\u2018\u2019\u201c\u201d\u00ab\u00bb#>[]"


class Move(NamedTuple):
    """A search or an answer, and the text before it."""

    kind: Literal["search", "answer"]
    text: str
    thought: str


def answer_in(text: str, *, otherwise: Literal["first", "last"]) -> str | None:
    r"""Return the answer in a completion.

    The first match counts: the last `<answer>` tag, the last line that starts with "Answer:", the
    last \boxed{}, the last "answer is", a whole line.

    Args:
        text: the completion.
        otherwise: the line to use if there is no other match: "first" if the model was asked for
            the answer only, "last" if it was asked for reasoning first.

    Returns:
        One line without markup and final period; None if the text is blank.
    """
    thinking, response = split_thinking(text)
    response = response if response.strip() else thinking
    lines = [line for line in map(_plain, response.splitlines()) if line]
    tagged = [match[2] for match in _TAGGED.finditer(response) if match[1] == "answer"]
    labelled = [_first_line(response[match.end() :]) for match in _ANSWER_LINE.finditer(response)]
    candidates = (tagged, labelled, _BOXED.findall(response), _ANSWER_IS.findall(response))
    for found in candidates:
        if plain := [one for one in map(_plain, found) if one]:
            return plain[-1]
    if not lines:
        return None
    return lines[0] if otherwise == "first" else lines[-1]


def first_move(text: str) -> Move | None:
    """Return the first line that starts with "Search:" or "Answer:", or the first such tag.

    Later moves are ignored, because the model generated them before it saw the first result.
    """
    thinking, response = split_thinking(text)
    found = [
        (match.start(), match[1], _plain(_first_line(response[match.end() :])))
        for match in _MOVE_LINE.finditer(response)
    ]
    found += [(tag.start(), tag[1], _plain(tag[2])) for tag in _TAGGED.finditer(response)]
    moves = [move for move in found if move[2]]
    if not moves:
        return None
    start, kind, content = min(moves)
    thought = "\n".join(filter(None, (thinking, response[:start].strip())))
    return Move("search" if kind.lower() == "search" else "answer", content, thought)


def _first_line(text: str) -> str:
    """Return the first line with content; it may be below its label."""
    return next((line for line in text.splitlines() if _plain(line)), "")


def _plain(text: str) -> str:
    """Return one line without markup, quotation marks and final period."""
    line = " ".join(_TAG.sub(" ", text).split()).strip(_MARKUP)
    return line[:-1].strip(_MARKUP) if line.endswith(".") else line
