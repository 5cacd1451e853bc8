"""The end of a turn: after the token that completes a closing tag, or at a stop token.

The turn format determines the tags: those of an action, or of a function call and an answer.

Tokenizers merge `>` with the following text, so tags are searched in the decoded text. Text is only
decoded after the few tokens that can complete a tag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from agents.llm.policy.text_codec import TextCodec
from zs_env.actions import DEFAULT_TOOLS, Tool

StopReason = Literal["tag", "eos", "length", "context"]

_TAG_END = re.compile(r"([A-Za-z_/<]*)>")


def closing_tags(tools: Sequence[Tool] = DEFAULT_TOOLS) -> tuple[str, ...]:
    """Return the closing tags of the actions of an agent with these tools."""
    return tuple(f"</{name}>" for name in (*tools, "answer"))


CLOSING_TAGS = closing_tags()
_CALL_TAGS = ("</tool_call>", "</answer>")  # in the turn format "tools"


def may_complete_tag(token_text: str, tags: Sequence[str] = CLOSING_TAGS) -> bool:
    """Whether a token with this text can complete a closing tag."""
    for match in _TAG_END.finditer(token_text):
        piece = match[1]
        for tag in tags:
            body = tag[:-1]
            if body.endswith(piece) or piece.endswith(body):
                return True
    return False


class StopRule:
    """Decides where a generated turn ends.

    Args:
        codec: decodes the ids. The closing tags of its tools end a turn.

    Attributes:
        tags: closing tags that end a turn.
        watched: ids after which `reason` must be called; no other id can end a turn.
    """

    def __init__(self, codec: TextCodec) -> None:
        self._codec = codec
        self._stop_token_ids = codec.stop_token_ids
        with_end = [i for token, i in codec.tokenizer.get_vocab().items() if ">" in token]
        self.tags = _CALL_TAGS if codec.turn_format == "tools" else closing_tags(codec.tools)
        ends = {i for i in with_end if may_complete_tag(codec.decode([i]), self.tags)}
        self.watched = codec.stop_token_ids | ends

    def reason(self, turn_ids: Sequence[int]) -> StopReason | None:
        """Return why a turn ends after its last id; None if it continues."""
        if turn_ids[-1] in self._stop_token_ids:
            return "eos"
        text = self._codec.decode(turn_ids)
        return "tag" if any(tag in text for tag in self.tags) else None

    def cut(self, token_ids: Sequence[int]) -> tuple[tuple[int, ...], StopReason | None]:
        """Return the ids up to the end of the turn, and its reason; None if it does not end."""
        for end, token_id in enumerate(token_ids, start=1):
            if token_id in self.watched and (reason := self.reason(token_ids[:end])):
                return tuple(token_ids[:end]), reason
        return tuple(token_ids), None
