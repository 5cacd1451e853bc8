"""A search engine behind `POST /retrieve`, as Search-R1's retriever and our own server offer it."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from zs_env.search.types import (
    Document,
    SearchCost,
    SearchError,
    SearchPage,
    SearchRequest,
    shared_pages,
)
from zs_env.server.schemas import WireError, decode_pages

TOKEN_VARIABLE = "ZEROSEARCH_SERVE_TOKEN"
_BACKOFF_S = 0.2
_MAX_QUERIES = 512  # of one request
_MAX_ANSWER = 64 * 2**20
_MAX_QUOTED = 200  # characters of an answer in an error


class HTTPEngine:
    """Sends the different queries of a batch in one request.

    The environment variable ZEROSEARCH_SERVE_TOKEN, where it is set, is sent as the bearer token.

    Args:
        url: of the route, such as "http://127.0.0.1:8000/retrieve". It stands in caches and
            transcripts: no place for a password.
        timeout_s: until a request is answered whole.
        max_tries: how often it is sent where there is no answer, a 5xx or a 429.

    Raises:
        ValueError: if `url` is no http(s) URL or holds credentials, or a setting is out of range.
    """

    name = "http"
    by_query = True

    def __init__(self, url: str, *, timeout_s: float = 20.0, max_tries: int = 3) -> None:
        if not re.fullmatch(r"https?://[^/@\s]+(/\S*)?", url):
            shown = re.sub(r"//[^/]*@", "//[credentials]@", url)
            raise ValueError(
                f"got the URL {shown!r}, expected http://HOST:PORT/retrieve without credentials; a "
                f"token is taken from the environment variable {TOKEN_VARIABLE}"
            )
        if timeout_s <= 0 or max_tries < 1:
            raise ValueError(
                f"timeout_s must be positive and max_tries at least 1, got {timeout_s}, {max_tries}"
            )
        self.url, self._timeout_s, self._max_tries = url, timeout_s, max_tries
        self.fingerprint = f"http-1:{url}"

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage | SearchError]:
        """Return one page per request; a query asked for twice is sent once.

        Raises:
            SearchError: if there is no answer, or it is none.
        """
        found: dict[tuple[str, int], SearchPage] = {}
        by_size: dict[int, dict[str, None]] = {}
        for request in requests:
            by_size.setdefault(len(request.useful), {})[request.query] = None
        for topk, distinct in by_size.items():
            queries = list(distinct)
            for start in range(0, len(queries), _MAX_QUERIES):
                part = queries[start : start + _MAX_QUERIES]
                started = time.perf_counter()
                answers = self._ask(part, topk)
                seconds = (time.perf_counter() - started) / len(part)
                for number, (query, documents) in enumerate(zip(part, answers, strict=True)):
                    cost = SearchCost(calls=int(number == 0), seconds=seconds)
                    found[query, topk] = SearchPage(documents[:topk], cost, self.name)
        return shared_pages([(one.query, len(one.useful)) for one in requests], found)

    def _ask(self, queries: list[str], topk: int) -> list[tuple[Document, ...]]:
        body = json.dumps({"queries": queries, "topk": topk, "return_scores": True}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        token = os.environ.get(TOKEN_VARIABLE, "")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        reason = ""
        for attempt in range(self._max_tries):
            if attempt:
                time.sleep(random.uniform(0.0, _BACKOFF_S * 2**attempt))
            request = urllib.request.Request(self.url, body, headers)
            try:
                ends = time.monotonic() + self._timeout_s
                with _OPENER.open(request, timeout=self._timeout_s) as answer:
                    return decode_pages(_read(answer, ends), len(queries))
            except urllib.error.HTTPError as error:
                reason = f"status {error.code}: {_quoted(error, token)}"
                if error.code < 500 and error.code != 429:
                    break
            except WireError as error:
                reason = str(error)
            except (OSError, http.client.HTTPException) as error:
                # Refused, reset, timed out, cut off, no HTTP: URLError and its kin are OSErrors.
                reason = f"{type(error).__name__}: {error}"
        if token:
            reason = reason.replace(token, "[token]")
        raise SearchError(f"{self.url} gave no page: {reason}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to another host, and the query nowhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _read(answer: http.client.HTTPResponse, ends: float) -> bytes:
    """Read an answer that may trickle in, until a moment of the monotonic clock."""
    pieces, size = [], 0
    while size < _MAX_ANSWER and (piece := answer.read1(_MAX_ANSWER - size)):
        pieces.append(piece)
        size += len(piece)
        if time.monotonic() > ends:
            raise TimeoutError(f"only {size} bytes of the answer came in time")
    return b"".join(pieces)


def _quoted(error: urllib.error.HTTPError, token: str) -> str:
    """Return the beginning of what a server says to a refusal, without the token."""
    try:
        with error:
            said = error.read(2**16).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""
    return (said.replace(token, "[token]") if token else said)[:_MAX_QUOTED]
