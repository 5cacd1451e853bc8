r"""What travels between a client that searches and a server that answers.

The body of `POST /retrieve` is JSON as Search-R1 and skyrl-gym send it, or msgpack as gem does:

    {"query": "…"} or {"queries": ["…", …]}, "topk": 3, "return_scores": true

and, of ours alone, "question_id": "…" or "question_ids": ["…", …]. A JSON answer holds one list per
query, a msgpack answer, which is to one query, a flat list:

    {"result": [[{"document": {"contents": "title\ntext"}, "score": 1.0}, …], …]}

The wire carries queries and nothing of the question behind them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zs_env.search.types import Document, SearchPage

MAX_QUERIES = 8192  # a training batch of Search-R1 is one request
MAX_TOPK = 1000
DEFAULT_TOPK = 3
JSON, MSGPACK = "application/json", "application/msgpack"


class WireError(ValueError):
    """A body that is no search, with what was expected."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """A decoded request.

    Attributes:
        queries: none where a client has nothing to ask, as Search-R1 does then.
        question_ids: one per query, None where it was not given.
        topk: documents wanted for each.
        scores: whether documents come with their scores.
        packed: whether it came as msgpack, and is answered so.
    """

    queries: tuple[str, ...]
    question_ids: tuple[str | None, ...]
    topk: int
    scores: bool
    packed: bool


def decode_retrieval(body: bytes) -> Retrieval:
    """Read the body of a request.

    Raises:
        WireError: if it is not a request.
    """
    packed = body.lstrip()[:1] != b"{"
    values = _unpack(body) if packed else _parse(body)
    if not isinstance(values, dict):
        raise WireError(f"expected an object with 'query' or 'queries', got {_kind(values)}")
    many = "queries" in values
    queries: Any = values.get("queries") if many else [values.get("query")]
    ids: Any = values.get("question_ids") if many else [values.get("question_id")]
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise WireError("'query' is a string and 'queries' a list of strings")
    if len(queries) > MAX_QUERIES:
        raise WireError(f"expected at most {MAX_QUERIES} queries, got {len(queries)}")
    ids = [None] * len(queries) if ids is None else ids
    if not isinstance(ids, list) or len(ids) != len(queries):
        raise WireError("'question_ids' is a list with one id, or null, for each query")
    topk = values.get("topk")
    topk = topk or DEFAULT_TOPK  # Search-R1 means the same by 0
    if not isinstance(topk, int) or isinstance(topk, bool) or not 0 < topk <= MAX_TOPK:
        raise WireError(f"'topk' is an integer from 1 to {MAX_TOPK}, got {topk!r}")
    return Retrieval(
        tuple(queries),
        tuple(None if one is None else str(one) for one in ids),
        topk,
        bool(values.get("return_scores", True)),
        packed,
    )


def encode_pages(retrieval: Retrieval, pages: Sequence[SearchPage]) -> tuple[bytes, str]:
    """Return the body of the answer and its content type."""
    result: list[Any] = [
        [
            _row(document, rank, retrieval.scores)
            for rank, document in enumerate(page.documents[: retrieval.topk])
        ]
        for page in pages
    ]
    if not retrieval.packed:
        return json.dumps({"result": result}).encode(), JSON
    import msgpack

    flat = result[0] if len(result) == 1 else result
    packed: Any = msgpack.packb({"result": flat})
    return packed, MSGPACK


def decode_pages(body: bytes, count: int) -> list[tuple[Document, ...]]:
    """Read an answer in JSON to `count` queries: a list per query, or for one query a flat one.

    Raises:
        WireError: if it is not an answer.
    """
    values = _parse(body)
    result = values.get("result") if isinstance(values, dict) else values
    if not isinstance(result, list):
        raise WireError(f"expected {{'result': [...]}}, got {_kind(values)}")
    if count == 1 and all(isinstance(row, dict) for row in result):
        result = [result]
    if len(result) != count:
        raise WireError(f"expected {count} lists of documents, got {len(result)}")
    return [tuple(map(_document, rows)) for rows in map(_as_list, result)]


def _row(document: Document, rank: int, scores: bool) -> dict[str, Any]:
    # Clients cut the contents at the first line break, so a title has none.
    title = " ".join(document.title.split())
    contents = {"contents": f"{title}\n{document.text}"}
    score = dict(document.metadata).get("score")
    if not isinstance(score, int | float):
        score = 1.0 / (rank + 1)
    return {"document": contents, "score": float(score)} if scores else contents


def _document(row: Any) -> Document:
    inner = row.get("document", row) if isinstance(row, dict) else row
    if isinstance(inner, str):
        return Document(inner)
    if not isinstance(inner, dict):
        raise WireError(f"expected a document, got {_kind(inner)}")
    text = inner.get("contents", inner.get("text"))
    if not isinstance(text, str):
        raise WireError(f"expected a document with 'contents' or 'text', got {sorted(inner)}")
    title = inner.get("title")
    if not isinstance(title, str):
        # Search-R1 keeps the title, in quotes, in the first line.
        first, found, rest = text.partition("\n") if "contents" in inner else ("", "", text)
        title, text = (first.strip('" '), rest) if found else ("", text)
    score = row.get("score") if isinstance(row, dict) else None
    known = (("score", float(score)),) if isinstance(score, int | float) else ()
    return Document(text, title, metadata=known)


def _as_list(rows: Any) -> list[Any]:
    if not isinstance(rows, list):
        raise WireError(f"expected a list of documents, got {_kind(rows)}")
    return rows


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError(f"expected JSON: {error}") from None


def _unpack(body: bytes) -> Any:
    try:
        import msgpack
    except ImportError:
        raise WireError("expected JSON; msgpack is not installed here") from None
    try:
        return msgpack.unpackb(body)
    except Exception as error:
        # msgpack raises ValueError, its own exceptions, and what a bad string raises.
        raise WireError(f"expected JSON or msgpack: {type(error).__name__}") from None


def _kind(value: Any) -> str:
    return type(value).__name__
