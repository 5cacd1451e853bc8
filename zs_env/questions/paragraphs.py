"""Reads the paragraphs of a question from the formats of different data sets.

Formats: a field `paragraphs` with objects `{title, text, is_gold}`, or as in MuSiQue `{title,
paragraph_text, is_supporting}`; or the fields `context` and `supporting_facts` of HotpotQA and
2WikiMultihopQA, in the row or in its `metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zs_env.questions.question import Paragraph
from zs_env.questions.rows import RowLocation

_TEXT_FIELDS = ("text", "paragraph_text")
_GOLD_FIELDS = ("is_gold", "is_supporting")


def read_paragraphs(row: Mapping[str, Any], location: RowLocation) -> tuple[Paragraph, ...]:
    """Return the paragraphs of a row in order; () if it has none."""
    if row.get("paragraphs") is not None:
        items = row["paragraphs"]
        if not isinstance(items, list):
            raise location.error("paragraphs", items, "a list of {title, text, is_gold}")
        return tuple(_read_object(item, number, location) for number, item in enumerate(items))
    nested = row.get("metadata")
    for holder in (row, nested if isinstance(nested, Mapping) else {}):
        context, facts = holder.get("context"), holder.get("supporting_facts")
        if isinstance(context, Mapping) and isinstance(facts, Mapping):
            return _from_context(context, facts, location)
    return ()


def _read_object(item: Any, number: int, location: RowLocation) -> Paragraph:
    name = f"paragraphs[{number}]"
    if not isinstance(item, Mapping):
        raise location.error(name, item, "an object {title, text, is_gold}")
    title = item.get("title") or ""
    text = next((item[field] for field in _TEXT_FIELDS if field in item), None)
    is_gold = next((item[field] for field in _GOLD_FIELDS if field in item), None)
    if not isinstance(title, str):
        raise location.error(f"{name}.title", title, "a string, or no title")
    if not isinstance(text, str):
        raise location.error(f"{name}.text", text, "a string, the text of the paragraph")
    if not isinstance(is_gold, bool):
        raise location.error(f"{name}.is_gold", is_gold, "true if it supports the answer, or false")
    return Paragraph(title=title, text=text, is_gold=is_gold)


def _from_context(
    context: Mapping[str, Any], facts: Mapping[str, Any], location: RowLocation
) -> tuple[Paragraph, ...]:
    titles = context.get("title")
    bodies = context.get("sentences", context.get("content"))
    if not isinstance(titles, Sequence) or not isinstance(bodies, Sequence):
        raise location.error("context", context, "{title: [...], sentences: [[...], ...]}")
    if len(titles) != len(bodies):
        raise location.error("context", context, f"as many texts as titles ({len(titles)})")
    gold = set(facts.get("title") or ())
    return tuple(
        Paragraph(title=title, text=_joined(sentences), is_gold=title in gold)
        for title, sentences in zip(titles, bodies, strict=True)
    )


def _joined(sentences: str | Sequence[str]) -> str:
    parts = [sentences] if isinstance(sentences, str) else sentences
    return " ".join(part.strip() for part in parts)
