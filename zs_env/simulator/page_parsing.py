"""Splits a generated text into the documents of a page. Any text can be parsed."""

from __future__ import annotations

import re

from zs_env.text.thinking import split_thinking

# "Doc 1:", "**Document 2** -" or "[Doc 3]", at the start of a line or after a sentence.
_MARK = r"[\W_]{0,8}Doc(?:ument)?s?[ \t]*(?:[#(\[][ \t]*)?\d{1,3}[\W_]{0,4}[:.)\]\-][*_ \t]*"
_MARKED = re.compile(rf"(?:^|(?<=\n)|(?<=[.!?\"'] )){_MARK}", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:^|(?<=\n))[ \t*#\[(]{0,4}\d{1,3}[\])]?[.):][*\])]*[ \t]+")
_SPACE = re.compile(r"\s+")
_MAX_CHARS = 2**16  # the rest of a longer text is ignored
_MAX_DOCUMENTS = 50


def split_documents(text: str, num_documents: int = _MAX_DOCUMENTS) -> list[str]:
    """Split a generated page into documents.

    A document starts at a mark ("Doc 1:"). Without marks, it starts at a number; without numbers,
    at a paragraph; with a single paragraph, at a line. Thinking, text before the first mark, empty
    documents and surplus documents are dropped. White space inside a document becomes single
    spaces.

    Args:
        text: the generated text.
        num_documents: maximum number of documents.

    Returns:
        At most `num_documents` non-empty texts.
    """
    text = split_thinking(text)[1][:_MAX_CHARS]
    for mark in (_MARKED, _NUMBERED):
        marks = list(mark.finditer(text))
        # A single number may belong to a sentence; two form a list.
        if len(marks) >= (1 if mark is _MARKED else 2):
            ends = [*(following.start() for following in marks[1:]), len(text)]
            pieces = [text[one.end() : end] for one, end in zip(marks, ends, strict=True)]
            break
    else:
        paragraphs = re.split(r"\n[ \t]*\n", text.strip())
        pieces = paragraphs if len(paragraphs) > 1 else text.splitlines()
    documents = [_SPACE.sub(" ", piece).strip(" *_") for piece in pieces]
    return [document for document in documents if document][:num_documents]


def single_document(text: str) -> str:
    """Return a generated text as one document.

    Thinking is dropped, as are a mark ("Doc 1:") at the start and a first line that announces the
    document, which ends with a colon. White space becomes single spaces.
    """
    text = split_thinking(text)[1][:_MAX_CHARS].strip()
    first, _, rest = text.partition("\n")
    if rest.strip() and first.rstrip(" *_").endswith(":"):
        text = rest.strip()
    if mark := _MARKED.match(text):
        text = text[mark.end() :]
    return _SPACE.sub(" ", text).strip(' *_"')


def join_documents(texts: list[str]) -> str:
    """Format documents as a page, in the format that simulators are tuned on."""
    return "".join(
        f"Doc {number}: {_SPACE.sub(' ', text).strip()}\n" for number, text in enumerate(texts, 1)
    )
