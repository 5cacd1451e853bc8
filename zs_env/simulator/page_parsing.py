"""From the text that a language model wrote to the documents of a page. Total: any text will do."""

from __future__ import annotations

import re

# "Doc 1:", "**Document 2** -", "[Doc 3]", at the beginning of a line or after one that ran on.
_MARK = r"[\W_]{0,8}Doc(?:ument)?s?[ \t]*(?:[#(\[][ \t]*)?\d{1,3}[\W_]{0,4}[:.)\]\-][*_ \t]*"
_MARKED = re.compile(rf"(?:^|(?<=\n)|(?<=[.!?\"'] )){_MARK}", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:^|(?<=\n))[ \t*#\[(]{0,4}\d{1,3}[\])]?[.):][*\])]*[ \t]+")
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_SPACE = re.compile(r"\s+")


_MAX_CHARS = 2**16  # of a text; what runs on beyond it is no page
_MANY = 50  # documents that a text may hold where none were asked for


def split_documents(text: str, num_documents: int = _MANY) -> list[str]:
    """Take a page apart.

    Documents begin with a mark ("Doc 1:"), or else a number, or else a paragraph, or else a line.
    What stands before the first mark is left out, as are thoughts, empty documents and documents
    beyond the number asked for. White space inside a document becomes single spaces.

    Args:
        text: what the model wrote.
        num_documents: how many are wanted.

    Returns:
        At most `num_documents` texts, none empty.
    """
    text = _THOUGHT.sub("", text)[:_MAX_CHARS]
    for mark in (_MARKED, _NUMBERED):
        marks = list(mark.finditer(text))
        # One number may be a sentence's own; two are a list.
        if len(marks) >= (1 if mark is _MARKED else 2):
            ends = [*(following.start() for following in marks[1:]), len(text)]
            pieces = [text[one.end() : end] for one, end in zip(marks, ends, strict=True)]
            break
    else:
        paragraphs = re.split(r"\n[ \t]*\n", text.strip())
        pieces = paragraphs if len(paragraphs) > 1 else text.splitlines()
    documents = [_SPACE.sub(" ", piece).strip(" *_") for piece in pieces]
    return [document for document in documents if document][:num_documents]


def join_documents(texts: list[str]) -> str:
    """Write documents as a page, in the form that simulators are tuned to."""
    return "".join(
        f"Doc {number}: {_SPACE.sub(' ', text).strip()}\n" for number, text in enumerate(texts, 1)
    )
