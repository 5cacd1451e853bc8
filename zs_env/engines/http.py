"""A search engine behind `POST /retrieve`, as Search-R1's retriever and our own server offer it."""

from __future__ import annotations

import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from zs_env.search import Document, SearchCost, SearchError, SearchPage, SearchRequest
from zs_env.serving.wire import MAX_QUERIES, WireError, decode_pages

TOKEN_VARIABLE = "ZEROSEARCH_SERVE_TOKEN"
_BACKOFF_S = 0.2
_MAX_ANSWER = 64 * 2**20


class HTTPEngine:
    """Sends the different queries of a batch in one request.

    The environment variable ZEROSEARCH_SERVE_TOKEN, where it is set, is sent as the bearer token.

    Args:
        url: of the route, such as "http://127.0.0.1:8000/retrieve".
        timeout_s: until a request is answered.
        max_tries: how often it is sent where there is no answer, a 5xx or a 429.

    Raises:
        ValueError: if `url` is no http(s) URL, or a setting is out of range.
    """

    name = "http"
    by_query = True

    def __init__(self, url: str, *, timeout_s: float = 20.0, max_tries: int = 3) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"got the URL {url!r}, expected http://HOST:PORT/retrieve")
        if timeout_s <= 0 or max_tries < 1:
            raise ValueError(
                f"timeout_s must be positive and max_tries at least 1, got {timeout_s}, {max_tries}"
            )
        self.url, self._timeout_s, self._max_tries = url, timeout_s, max_tries
        self.fingerprint = f"http-1:{url}"

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage]:
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
            for start in range(0, len(queries), MAX_QUERIES):
                part = queries[start : start + MAX_QUERIES]
                started = time.perf_counter()
                answers = self._ask(part, topk)
                cost = SearchCost(calls=1, seconds=(time.perf_counter() - started) / len(part))
                for query, documents in zip(part, answers, strict=True):
                    found[query, topk] = SearchPage(documents[:topk], cost, self.name)
        return [found[request.query, len(request.useful)] for request in requests]

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
                with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                    return decode_pages(answer.read(_MAX_ANSWER), len(queries))
            except urllib.error.HTTPError as error:
                with error:
                    reason = f"status {error.code}: {error.read(200).decode('utf-8', 'replace')}"
                if error.code < 500 and error.code != 429:
                    break
            except WireError as error:
                reason = str(error)
            except OSError as error:
                # Refused, reset, timed out: URLError and its kin are all of these.
                reason = f"{type(error).__name__}: {error}"
        if token:
            reason = reason.replace(token, "[token]")
        raise SearchError(f"{self.url} gave no page: {reason}")
