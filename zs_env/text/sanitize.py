"""Sanitizes external text before it enters a transcript.

Only the agent may write `<search>` and `<answer>`, only the environment may write `<information>`,
and no text may contain control tokens of a tokenizer. In a document with such a form, the opening
bracket is replaced by "(", with which no control form starts. Words and length stay the same.
"""

from __future__ import annotations

import re
from functools import lru_cache

_BROKEN_CODE_POINTS = re.compile("[\x00\ud800-\udfff]")

# Some tokenizers normalize these compatibility characters to "<" or "[".
_ANGLE = "<\uff1c\ufe64"
_SQUARE = "[\uff3b"
_CLOSE = "[>\uff1e\ufe65]"
_TAGS = r"(?:think|search|information|answer)"
_ANGLE_NAMES = (
    r"s|bos|eos|pad|unk|mask|cls|sep|sop|eop|eot|eod|eom|sys|inst|image|audio|video|"
    r"endoftext|startoftext|reponame|filename|beginofsentence|endofsentence"
)
_SQUARE_NAMES = "CLS|SEP|PAD|UNK|MASK|gMASK|sMASK|BOS|EOS|IMG|PREFIX|MIDDLE|SUFFIX|ARGS|THINK"
_CONTROL_FORMS = re.compile(
    # Our own tags: whole or with attributes, also with spaces or slashes inside.
    rf"[{_ANGLE}](?=(?i:/?{_TAGS}\b|[\s/]*{_TAGS}[\s/]*{_CLOSE}))"
    # <|im_end|>, [|user|] and similar, incomplete or with full-width bars (DeepSeek).
    rf"|[{_ANGLE}{re.escape(_SQUARE)}](?=[|\uff5c])"
    # <s>, </s>, <bos>, [INST], <<SYS>> and the like.
    rf"|[{_ANGLE}](?=(?i:/?(?:{_ANGLE_NAMES}){_CLOSE}|[{_ANGLE}]?/?SYS{_CLOSE}))"
    # <start_of_turn>, <extra_id_0>, <tool_call>, <unused12>, <seed:eos>.
    rf"|[{_ANGLE}](?=/?[A-Za-z]\w{{0,60}}[_:\d][\w:]{{0,60}}{_CLOSE})"
    rf"|[{re.escape(_SQUARE)}](?=(?i:/?INST[\]\uff3d])|/?(?:{_SQUARE_NAMES})\])"
    # [TOOL_CALLS], [UNUSED_TOKEN_145], [control_8].
    r"|\[(?=/?[A-Z]+(?:_[A-Z0-9]+)+\]|(?:control|extra_id|unused)_?\d+\]|@[A-Z]+@\])"
    r"|\](?=~!?b[\[\]])|\[(?=e~\[)",  # MiniMax: ]~b], ]~!b[, [e~[
)
_OPEN_TAGS = re.compile(rf"[{_ANGLE}](?=(?i:/?open\b|[\s/]*open[\s/]*{_CLOSE}))")
_OPENING = re.compile(rf"[{_ANGLE}{re.escape(_SQUARE)}]|\]~")


def clean_text(text: str) -> str:
    """Replace NUL and lone surrogates, which files and tokenizers refuse, by U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return _BROKEN_CODE_POINTS.sub("\ufffd", text)


@lru_cache(maxsize=16384)
def sanitize(text: str) -> str:
    """Clean a text that the agent did not write, and break every control form in it.

    The length stays the same. Sanitizing twice has no further effect.
    """
    text = clean_text(text)
    return _CONTROL_FORMS.sub("(", text) if _OPENING.search(text) else text


def sanitize_open(text: str) -> str:
    """Sanitize a text, and also break the tags of the tool "open"."""
    return _OPEN_TAGS.sub("(", sanitize(text))
