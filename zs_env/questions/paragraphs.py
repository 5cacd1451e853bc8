"""Reads the paragraphs of a question from the formats of different data sets.

Formats:
    a field `paragraphs` with objects `{title, text, is_gold}`, or as in MuSiQue `{title,
    paragraph_text, is_supporting}`;
    the fields `context` and `supporting_facts` of HotpotQA and 2WikiMultihopQA, in the row or in
    its `metadata`: lists `[[title, [sentence, ...]], ...]` and `[[title, number], ...]`, or the
    objects of lists of their copies on the Hugging Face hub, or either as JSON text;
    the fields `positive_ctxs`, `negative_ctxs` and `hard_negative_ctxs` of DPR.

Without paragraphs, a row may name its gold documents: a list of titles or ids in `gold_titles` or
`gold_ids`, or `supporting_facts` as above.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zs_env.questions.question import Paragraph
from zs_env.questions.rows import RowLocation

_TEXT_FIELDS = ("text", "paragraph_text")
_GOLD_FIELDS = ("is_gold", "is_supporting")
_DPR_FIELDS = {"positive_ctxs": True, "negative_ctxs": False, "hard_negative_ctxs": False}
_NAME_FIELDS = ("gold_titles", "gold_ids")
_CONTEXT = "[[title, [sentence, ...]], ...] or {title: [...], sentences: [[...], ...]}"
_FACTS = "[[title, number], ...] or {title: [...]}"


def read_paragraphs(row: Mapping[str, Any], location: RowLocation) -> tuple[Paragraph, ...]:
    """Return the paragraphs of a row in order; () if it has none.

    Raises:
        ValueError: if a field has none of the formats; the message names it.
    """
    if row.get("paragraphs") is not None:
        items = row["paragraphs"]
        if not isinstance(items, list):
            raise location.error("paragraphs", items, "a list of {title, text, is_gold}")
        return tuple(_read_object(item, number, location) for number, item in enumerate(items))
    nested = row.get("metadata")
    for holder in (row, nested if isinstance(nested, Mapping) else {}):
        context, facts = holder.get("context"), holder.get("supporting_facts")
        # Other data sets have a field `context` as well.
        if context is not None and facts is not None:
            return _from_context(_decoded(context), _decoded(facts), location)
    return tuple(
        paragraph
        for field, is_gold in _DPR_FIELDS.items()
        if row.get(field) is not None
        for paragraph in _from_dpr(row[field], field, is_gold, location)
    )


def read_gold_titles(row: Mapping[str, Any], location: RowLocation) -> tuple[str, ...]:
    """Return the titles or ids of the gold documents that a row names besides its paragraphs.

    Raises:
        ValueError: if a field is malformed; the message names it.
    """
    found: dict[str, None] = {}
    for field in _NAME_FIELDS:
        names = row.get(field)
        names = [names] if isinstance(names, str) else names
        if names is None:
            continue
        if not isinstance(names, list) or not all(type(one) in (str, int) for one in names):
            raise location.error(field, names, "a list of strings")
        found |= dict.fromkeys(map(str, names))
    if row.get("supporting_facts") is not None and row.get("context") is None:
        found |= dict.fromkeys(sorted(_gold_titles(_decoded(row["supporting_facts"]), location)))
    return tuple(one for one in found if one.strip())


def _decoded(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _from_dpr(items: Any, field: str, is_gold: bool, location: RowLocation) -> list[Paragraph]:
    if not isinstance(items, list):
        raise location.error(field, items, "a list of {title, text}")
    found = []
    for number, item in enumerate(items):
        values = item if isinstance(item, Mapping) else {}
        title, text = values.get("title") or "", values.get("text")
        if not isinstance(title, str) or not isinstance(text, str):
            raise location.error(f"{field}[{number}]", item, "an object {title, text}")
        found.append(Paragraph(title=title, text=text, is_gold=is_gold))
    return found


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


def _from_context(context: Any, facts: Any, location: RowLocation) -> tuple[Paragraph, ...]:
    gold = _gold_titles(facts, location)
    if isinstance(context, Mapping):
        titles, bodies = context.get("title"), context.get("sentences", context.get("content"))
        if not isinstance(titles, list) or not isinstance(bodies, list):
            raise location.error("context", context, _CONTEXT)
        if len(titles) != len(bodies):
            raise location.error("context", context, f"as many texts as titles ({len(titles)})")
        pairs: list[Any] = list(zip(titles, bodies, strict=True))
    else:
        pairs = context if isinstance(context, list) else [None]
    found = []
    for number, pair in enumerate(pairs):
        title, body = pair if isinstance(pair, list | tuple) and len(pair) == 2 else (None, None)
        sentences = [body] if isinstance(body, str) else body
        if not isinstance(title, str) or not _are_strings(sentences):
            raise location.error(f"context[{number}]", pair, _CONTEXT)
        text = " ".join(sentence.strip() for sentence in sentences or ())
        found.append(Paragraph(title=title, text=text, is_gold=title in gold))
    return tuple(found)


def _gold_titles(facts: Any, location: RowLocation) -> set[str]:
    if isinstance(facts, Mapping):
        titles = facts.get("title") or []
    else:
        pairs = facts if isinstance(facts, list) else [None]
        titles = [pair[0] if isinstance(pair, list) and pair else None for pair in pairs]
    if not _are_strings(titles):
        raise location.error("supporting_facts", facts, _FACTS)
    return set(map(str, titles))


def _are_strings(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(one, str) for one in values)
