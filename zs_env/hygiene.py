"""Text from outside made safe to stand in a transcript.

Only an agent writes `<search>` and `<answer>`, only the environment writes `<information>`, and
nobody writes a tokenizer's control tokens. A document that carries such a form keeps its words;
the bracket that makes the form is followed by a space.
"""

from __future__ import annotations

import re
from functools import lru_cache

_BROKEN_CODE_POINTS = re.compile("[\x00\ud800-\udfff]")
_CONTROL_FORMS = re.compile(
    r"<(?=/?(?:think|search|information|answer)\b)"  # our own tags, with or without attributes
    r"|<(?=\|)|(?<=\|)>"  # <|im_end|>, <|eot_id|> and their kin
    r"|<(?=/?(?:s|bos|eos|pad|unk|mask|start_of_turn|end_of_turn)>)"
    r"|\[(?=/?INST\])",
    re.IGNORECASE,
)


def clean_text(text: str) -> str:
    """Replace NUL and lone surrogates, which files and tokenizers refuse, by U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return _BROKEN_CODE_POINTS.sub("\ufffd", text)


def _break_form(match: re.Match[str]) -> str:
    return match[0] + " " if match[0] in "<[" else " " + match[0]


@lru_cache(maxsize=16384)
def neutralize(text: str) -> str:
    """Clean a text that the agent did not write and break every control form in it.

    Neutralising twice changes nothing more.
    """
    return _CONTROL_FORMS.sub(_break_form, clean_text(text))
