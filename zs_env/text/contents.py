"""Title and text of a document in the formats of retrievers and passage files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SENTENCE_ENDS = (".", "!", "?", "\u3002", "\uff01", "\uff1f")


def title_and_text(row: Mapping[str, Any]) -> tuple[str, str] | None:
    r"""Return title and text of a row; None if it has no text.

    A row has `title` and `text`, or `contents`, as in Search-R1: the title, which may be in quotes,
    then a line break and the text. `contents` of one line has no title, and a first line that ends
    like a sentence, without quotes, is text. A title line that repeats the field `title` is
    dropped.
    """
    title, text, contents = row.get("title"), row.get("text"), row.get("contents")
    title = title if isinstance(title, str) else ""
    if isinstance(text, str) and (title or not isinstance(contents, str)):
        return title, text
    if not isinstance(contents, str):
        return None
    first, _, rest = contents.partition("\n")
    quoted, first = first.strip().startswith('"'), first.strip('" \r')
    is_title = quoted or not first.endswith(SENTENCE_ENDS)
    if (first != title if title else not is_title) or not rest.strip():
        return title, contents.strip()
    return first, rest
