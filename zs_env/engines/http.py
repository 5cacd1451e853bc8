"""A search server with the route `POST /retrieve`: Search-R1's retriever, or `zs_env.server`."""

from __future__ import annotations

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from zs_env.search.engine import Answer, SearchEngine, search_distinct
from zs_env.search.retry import RequestFailed, RetryPolicy, is_final
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest
from zs_env.server.schemas import TOKEN_VARIABLE, InvalidBody, decode_pages

_BACKOFF_S = 0.2
_MAX_QUERIES = 512  # per HTTP request
_MAX_ANSWER = 64 * 2**20
_MAX_QUOTED = 200  # characters of an error page in an error message


class HTTPEngine(SearchEngine):
    """Sends the distinct queries of a batch in one request.

    The environment variable ZEROSEARCH_SERVE_TOKEN is sent as the bearer token if it is set.

    Args:
        url: of the route, such as "http://127.0.0.1:8000/retrieve". It is stored in caches and
            transcripts, so it must not have credentials.
        timeout_s: seconds until the whole answer is read.
        max_tries: how often a request is sent if the server fails.

    Raises:
        ValueError: if `url` is not an http(s) URL or has credentials, or a setting is out of
            range.
    """

    name = "http"
    query_only = True

    def __init__(self, url: str, *, timeout_s: float = 20.0, max_tries: int = 3) -> None:
        if not re.fullmatch(r"https?://[^/@\s]+(/\S*)?", url):
            shown = re.sub(r"//[^/]*@", "//[credentials]@", url)
            raise ValueError(
                f"got the URL {shown!r}, expected http://HOST:PORT/retrieve without credentials; "
                f"set the environment variable {TOKEN_VARIABLE} to send a token"
            )
        if timeout_s <= 0:
            raise ValueError(f"timeout_s must be positive, got {timeout_s}")
        self.url, self._timeout_s = url, timeout_s
        self._retries = RetryPolicy(max_tries, _BACKOFF_S)
        self.fingerprint = f"http-1:{url}"

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request; each distinct query is sent once."""
        keys = [(request.query, len(request.useful)) for request in requests]
        return search_distinct(keys, self._pages)

    def _pages(self, keys: list[tuple[str, int]]) -> list[SearchPage]:
        """Return a page for each query and number of documents, all distinct."""
        by_topk: dict[int, list[str]] = {}
        for query, topk in keys:
            by_topk.setdefault(topk, []).append(query)
        found: dict[tuple[str, int], SearchPage] = {}
        for topk, queries in by_topk.items():
            for start in range(0, len(queries), _MAX_QUERIES):
                part = queries[start : start + _MAX_QUERIES]
                started = time.perf_counter()
                pages = self._request(part, topk)
                seconds = (time.perf_counter() - started) / len(part)
                for number, (query, documents) in enumerate(zip(part, pages, strict=True)):
                    cost = SearchCost(calls=int(number == 0), seconds=seconds)
                    found[query, topk] = SearchPage(documents[:topk], cost, self.name)
        return [found[key] for key in keys]

    def _request(self, queries: list[str], topk: int) -> list[tuple[Document, ...]]:
        body = json.dumps({"queries": queries, "topk": topk, "return_scores": True}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        token = os.environ.get(TOKEN_VARIABLE, "")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url, body, headers)
        try:
            return self._retries.call(lambda: self._send(request, len(queries), token))
        except RequestFailed as error:
            reason = str(error).replace(token, "[token]") if token else str(error)
            raise SearchError(f"{self.url} gave no page: {reason}") from None

    def _send(
        self, request: urllib.request.Request, count: int, token: str
    ) -> list[tuple[Document, ...]]:
        try:
            deadline = time.monotonic() + self._timeout_s
            with _OPENER.open(request, timeout=self._timeout_s) as answer:
                return decode_pages(_read(answer, deadline), count)
        except urllib.error.HTTPError as error:
            raise RequestFailed(
                f"status {error.code}", _quoted(error, token), is_final(error.code)
            ) from None
        except InvalidBody as error:
            raise RequestFailed(str(error)) from None
        except (OSError, http.client.HTTPException) as error:
            # Refused, reset, timed out, cut off, not HTTP: URLError is an OSError too.
            raise RequestFailed(type(error).__name__, str(error)) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, which would send the token to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _read(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """Read an answer that may arrive in small pieces, until a time of the monotonic clock."""
    pieces, size = [], 0
    while size < _MAX_ANSWER and (piece := answer.read1(_MAX_ANSWER - size)):
        pieces.append(piece)
        size += len(piece)
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {size} bytes of the answer came in time")
    return b"".join(pieces)


def _quoted(error: urllib.error.HTTPError, token: str) -> str:
    """Return the beginning of a server's error page, without the token."""
    try:
        with error:
            text = error.read(2**16).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""
    return (text.replace(token, "[token]") if token else text)[:_MAX_QUOTED]
