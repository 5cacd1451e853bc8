"""Separates the thinking of a reasoning model from its response.

Chat templates often write the opening tag themselves, so a completion may have a closing tag only.
A completion that was cut while the model was thinking has an opening tag only.
"""

from __future__ import annotations

import re

# Qwen, DeepSeek and others; Seed; Granite and others; Magistral; Kimi; gpt-oss.
_NAMES = r"(?:seed:)?(?:think(?:ing)?|thought|reasoning)"
_CLOSE = re.compile(
    rf"</\s*{_NAMES}\s*>|\[/THINK\]|\u25c1/think\u25b7|<\|channel\|>\s*final\s*<\|message\|>",
    re.IGNORECASE,
)
_OPEN = re.compile(
    rf"<\s*{_NAMES}\s*>|\[THINK\]|\u25c1think\u25b7|<\|channel\|>\s*analysis\s*<\|message\|>",
    re.IGNORECASE,
)


_ACTION = re.compile(r"</(?:search|answer)>")


def split_thinking(text: str) -> tuple[str, str]:
    """Return the thinking and the response of a completion, both without the tags of thinking.

    Everything before the last closing tag is thinking, and so is everything after an opening tag
    that is not closed.
    """
    closing = None
    for closing in _CLOSE.finditer(text):  # noqa: B007 (the last match)
        pass
    thinking, response = ("", text) if closing is None else _around(text, closing)
    if opening := _OPEN.search(response):
        response, unfinished = _around(response, opening)
        thinking = f"{thinking}\n{unfinished}"
    return _OPEN.sub("", _CLOSE.sub("", thinking)).strip(), response


def has_response(text: str) -> bool:
    """Whether a completion has more than white space and thinking, or an action in its thinking."""
    return bool(split_thinking(text)[1].strip() or _ACTION.search(text))


def _around(text: str, match: re.Match[str]) -> tuple[str, str]:
    return text[: match.start()], text[match.end() :]
