"""Turn formats: how the turns of a policy and the messages of the environment form one text.

- "inline": everything after the prompt is one assistant message. The chat template, if there is
  one, only frames the prompt.
- "chat": each turn is an assistant message, and each page and each notice is a user message.
- "tools": as "chat", but a search is a call of the function `search` in the model's own format (an
  open, one of `open`), and each page and each notice is a tool message. The answer is written
  between <answer> and </answer>, as in the other formats.

The template is rendered with placeholders, and only its text between them is encoded. A message is
encoded together with the ordinary text that the template writes next to it, as if the whole
conversation were encoded at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

TurnFormat = Literal["inline", "chat", "tools"]
Message = Mapping[str, Any]

_TURN = "TURNGOESHERE"
# The quotation mark shows whether a template writes a message as a JSON string.
_MESSAGE = 'MESSAGE"GOESHERE'


@dataclass(frozen=True, slots=True)
class Frame:
    """The text of a chat template around a message.

    Attributes:
        before: up to the last control token before the message.
        left: ordinary text between that token and the message.
        right: ordinary text between the message and the next control token.
        after: from that token on, up to the start of the policy's turn.
        is_json: whether the message is written as a JSON string.
    """

    before: str
    left: str
    right: str
    after: str
    is_json: bool

    def fill(self, message: str) -> str:
        """Return the message with the ordinary text next to it; it is stripped, as templates do."""
        return f"{self.left}{_escape(message.strip(), self.is_json)}{self.right}"


@dataclass(frozen=True, slots=True)
class Frames:
    """The frame of the prompt, and that of a later message from the end of the turn before it."""

    prompt: Frame
    message: Frame


def find_frames(
    render: Callable[[list[Message]], str], turn_format: TurnFormat, control_tokens: Collection[str]
) -> Frames:
    """Return the frames of a chat template.

    Args:
        render: renders messages with the template, and the start of the policy's turn after them.
        turn_format: "chat" or "tools".
        control_tokens: texts of the tokens that no ordinary text may contain.

    Raises:
        ValueError: if the template does not show each message exactly once.
    """
    role = "tool" if turn_format == "tools" else "user"
    prompt = {"role": "user", "content": _MESSAGE}
    turn = {"role": "assistant", "content": _TURN}
    first = render([prompt])
    played = render([{**prompt, "content": "."}, turn, {"role": role, "content": _MESSAGE}])
    rest = split_once(played, _TURN)[1]
    return Frames(_frame(first, control_tokens), _frame(rest, control_tokens))


def split_once(text: str, placeholder: str) -> tuple[str, str, bool]:
    """Return the text before and after a placeholder, and whether it is written as JSON.

    Raises:
        ValueError: if the text does not contain it exactly once.
    """
    escaped = _escape(placeholder, True)
    is_json = escaped != placeholder and escaped in text
    pieces = text.split(escaped if is_json else placeholder)
    if len(pieces) != 2:
        raise ValueError(f"it shows a message {len(pieces) - 1} times, expected once")
    return pieces[0], pieces[1], is_json


def _frame(text: str, control_tokens: Collection[str]) -> Frame:
    before, after, is_json = split_once(text, _MESSAGE)
    longest_first = sorted(control_tokens, key=len, reverse=True)
    control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
    start = max((match.end() for match in control.finditer(before)), default=0)
    found = control.search(after)
    stop = len(after) if found is None else found.start()
    return Frame(before[:start], before[start:], after[:stop], after[stop:], is_json)


def _escape(text: str, is_json: bool) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1] if is_json else text
