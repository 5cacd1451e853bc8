r"""Encodes and decodes the requests and answers of `POST /retrieve`.

The body of a request is JSON in UTF-8 (Search-R1, skyrl-gym) or msgpack (gem):

    {"query": "…"} or {"queries": ["…", …]}, "topk": 3, "return_scores": true

and optionally, as an extension, "question_id": "…" or "question_ids": ["…", …]. A JSON answer has
one list per query. A msgpack answer to a single query has a flat list:

    {"result": [[{"document": {"contents": "title\ntext"}, "score": 1.0}, …], …]}

With the extension "open": [2, …], the number of a document on the page of each query, from 1, the
answer also has these documents in full, if the engine can open documents:

    {"result": […], "opened": [{"document": {"contents": "title\nfull text"}, "score": 0.5}, …]}

A client sends queries only. It never sends the question behind a query or its answers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zs_env.search.types import NOT_FINITE, Document, SearchPage
from zs_env.text.contents import SENTENCE_ENDS, title_and_text
from zs_env.text.sanitize import clean_text

MAX_QUERIES = 8192  # a training batch of Search-R1 is one request
MAX_TOPK = 1000
DEFAULT_TOPK = 3
TOKEN_VARIABLE = "ZEROSEARCH_SERVE_TOKEN"  # the environment variable with the bearer token
JSON, MSGPACK = "application/json", "application/msgpack"
_SURROGATES = re.compile("[\ud800-\udfff]")


class InvalidBody(ValueError):
    """A request or an answer could not be decoded."""


@dataclass(frozen=True, slots=True)
class RetrieveRequest:
    """A decoded request.

    Attributes:
        queries: may be empty; Search-R1 sends such requests.
        question_ids: one per query; None if not given.
        topk: number of documents per query.
        return_scores: whether the answer includes scores.
        is_msgpack: whether request and answer are msgpack, not JSON.
        open: for each query the number of a document on its page, from 1, that is opened; () for
            plain searches.
    """

    queries: tuple[str, ...]
    question_ids: tuple[str | None, ...]
    topk: int
    return_scores: bool
    is_msgpack: bool
    open: tuple[int, ...] = ()


def decode_request(body: bytes, *, is_msgpack: bool = False) -> RetrieveRequest:
    """Decode the body of a request.

    Raises:
        InvalidBody: if the body is not a valid request.
    """
    values = decode_object(body, is_msgpack=is_msgpack)
    many = "queries" in values
    queries: Any = values.get("queries") if many else [values.get("query")]
    ids: Any = values.get("question_ids") if many else [values.get("question_id")]
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise InvalidBody("'query' is a string and 'queries' a list of strings")
    if len(queries) > MAX_QUERIES:
        raise InvalidBody(f"expected at most {MAX_QUERIES} queries, got {len(queries)}")
    ids = [None] * len(queries) if ids is None else ids
    if not isinstance(ids, list) or len(ids) != len(queries):
        raise InvalidBody("'question_ids' is a list with one id, or null, for each query")
    if not all(one is None or _is_integer(one) or isinstance(one, str) for one in ids):
        raise InvalidBody("a question id is a string or an integer")
    for text in (*queries, *ids):
        if isinstance(text, str) and (broken := _SURROGATES.search(text)):
            raise InvalidBody(f"expected Unicode text, got the lone surrogate {broken[0]!r}")
    topk = values.get("topk")
    topk = DEFAULT_TOPK if topk is None else topk
    if not _is_integer(topk) or not 0 <= topk <= MAX_TOPK:
        raise InvalidBody(f"'topk' is an integer from 1 to {MAX_TOPK}, got {topk!r}")
    scores = values.get("return_scores")
    if scores is not None and not isinstance(scores, bool):
        raise InvalidBody(f"'return_scores' is true or false, got {scores!r}")
    topk = topk or DEFAULT_TOPK  # Search-R1 sends 0 for the default
    opens: Any = values.get("open")
    if opens is not None and (
        not isinstance(opens, list)
        or len(opens) != len(queries)
        or not all(_is_integer(one) and 1 <= one <= topk for one in opens)
    ):
        raise InvalidBody(f"'open' is a list with an integer from 1 to {topk} for each query")
    return RetrieveRequest(
        tuple(queries),
        tuple(None if one is None else str(one) for one in ids),
        topk,
        scores is not False,
        is_msgpack,
        tuple(opens or ()),
    )


def decode_object(body: bytes, *, is_msgpack: bool = False) -> dict[str, Any]:
    """Decode a JSON or msgpack object; InvalidBody if it is none."""
    values = _decode_msgpack(body) if is_msgpack else _decode_json(body)
    if not isinstance(values, dict):
        raise InvalidBody(f"expected an object, got {type(values).__name__}")
    return values


def encode_pages(
    request: RetrieveRequest, pages: Sequence[SearchPage], opened: Sequence[SearchPage] = ()
) -> tuple[bytes, str]:
    """Return the body of an answer and its content type.

    Args:
        request: the decoded request.
        pages: one page per query.
        opened: for each query a page with the opened document; () for plain searches.
    """
    result: list[Any] = [
        [
            _row(document, rank, request.return_scores)
            for rank, document in enumerate(page.documents[: request.topk])
        ]
        for page in pages
    ]
    extra: dict[str, Any] = {}
    if opened:
        numbered = zip(opened, request.open, strict=True)
        extra["opened"] = [
            _row(page.documents[0], number - 1, request.return_scores) for page, number in numbered
        ]
    if not request.is_msgpack:
        return json.dumps({"result": result, **extra}, allow_nan=False).encode(), JSON
    import msgpack

    flat = result[0] if len(result) == 1 else result
    packed: Any = msgpack.packb({"result": flat, **extra})
    return packed, MSGPACK


def decode_pages(body: bytes, count: int) -> list[tuple[Document, ...]]:
    """Decode a JSON answer to `count` queries. An answer to one query may be a flat list.

    Raises:
        InvalidBody: if the body is not a valid answer.
    """
    values = _decode_json(body)
    result = values.get("result") if isinstance(values, dict) else values
    if not isinstance(result, list):
        raise InvalidBody(f"expected {{'result': [...]}}, got {type(values).__name__}")
    if count == 1 and all(isinstance(row, dict) for row in result):
        result = [result]
    if len(result) != count:
        raise InvalidBody(f"expected {count} lists of documents, got {len(result)}")
    return [tuple(map(_document, rows)) for rows in map(_as_list, result)]


def decode_opened(body: bytes, count: int) -> list[Document] | None:
    """Decode the opened documents of `count` queries; None if the server opened none.

    Raises:
        InvalidBody: if the body is not a valid answer.
    """
    values = _decode_json(body)
    rows = values.get("opened") if isinstance(values, dict) else None
    if rows is None:
        return None
    if len(_as_list(rows)) != count:
        raise InvalidBody(f"expected {count} opened documents, got {len(rows)}")
    return list(map(_document, rows))


def _row(document: Document, rank: int, scores: bool) -> dict[str, Any]:
    # Clients split the contents at the first line break, so titles must not contain one.
    title = " ".join(document.title.split())
    if title.endswith(SENTENCE_ENDS):
        title = f'"{title}"'  # without quotes it would be read as a sentence of the text
    contents = {"contents": clean_text(f"{title}\n{document.text}")}
    if not scores:
        return contents
    score = dict(document.metadata).get("score", 1.0 / (rank + 1))
    return {"document": contents, "score": finite_number(score)}


def finite_number(value: object) -> float | None:
    """Return a number as a float; None if it is not finite or not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _document(row: Any) -> Document:
    inner = row.get("document", row) if isinstance(row, dict) else row
    if isinstance(inner, str):
        return Document(inner)
    if not isinstance(inner, dict):
        raise InvalidBody(f"expected a document, got {type(inner).__name__}")
    found = title_and_text(inner)
    if found is None:
        raise InvalidBody(f"expected a document with 'contents' or 'text', got {sorted(inner)}")
    title, text = found
    score = row.get("score") if isinstance(row, dict) else None
    if not isinstance(score, int | float) or isinstance(score, bool):
        return Document(text, title)
    number = finite_number(score)
    checks = (NOT_FINITE,) if number is None else ()
    return Document(text, title, checks=checks, metadata=(("score", number),))


def _as_list(rows: Any) -> list[Any]:
    if not isinstance(rows, list):
        raise InvalidBody(f"expected a list of documents, got {type(rows).__name__}")
    return rows


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _decode_json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidBody(f"expected JSON: {error}") from None


def _decode_msgpack(body: bytes) -> Any:
    try:
        import msgpack
    except ImportError:
        raise InvalidBody("expected JSON; msgpack is not installed") from None
    try:
        return msgpack.unpackb(body)
    except Exception as error:
        # msgpack raises ValueError, exceptions of its own, and decoding errors.
        raise InvalidBody(f"expected JSON or msgpack: {type(error).__name__}") from None
