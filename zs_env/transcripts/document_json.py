"""Documents to JSON and back; fields with their default value are omitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from zs_env.search.types import Document

_DEFAULTS = {field.name: field.default for field in fields(Document)}


def document_to_json(document: Document) -> dict[str, Any]:
    """Return the document as JSON values."""
    found = {name: getattr(document, name) for name in _DEFAULTS}
    return {name: value for name, value in found.items() if value is not _DEFAULTS[name]}


def document_from_json(value: Mapping[str, Any]) -> Document:
    """Return the document that `document_to_json` wrote.

    Raises:
        TypeError: if a field is unknown or `text` is missing.
    """
    found: dict[str, Any] = {name: _frozen(item) for name, item in value.items()}
    return Document(**found)


def _frozen(value: Any) -> Any:
    # JSON has no tuples, and a document must be hashable.
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
