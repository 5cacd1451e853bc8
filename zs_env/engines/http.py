"""A search server with the route `POST /retrieve`: Search-R1's retriever, or `zs_env.server`."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from zs_env.search.deadline import time_left_s
from zs_env.search.engine import Answer, SearchEngine, raise_single, search_distinct
from zs_env.search.http_client import read_secret
from zs_env.search.opening import opened_page
from zs_env.search.proxy import proxy_of, through_proxy
from zs_env.search.retry import RequestFailed, RetryPolicy, is_final
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest
from zs_env.server.schemas import TOKEN_VARIABLE, InvalidBody, decode_opened, decode_pages

_TIMEOUT_S = 20.0
_BACKOFF_S = 0.2
_CONCURRENCY = 8  # requests sent at a time after a request with several queries failed
_NO_CONNECTION = "no connection"
_MAX_QUERIES = 512  # per HTTP request
_MAX_ANSWER = 64 * 2**20
_MAX_QUOTED = 200  # characters of an error page in an error message
# The pages of an answer, and its opened documents.
_Decoded = tuple[list[tuple[Document, ...]], list[Document] | None]


class HTTPEngine(SearchEngine):
    """Sends the distinct queries of a batch in one request.

    A document is opened with the extension "open" of `zs_env.server`: the server gets the query
    again and the number of the document. A server without it sends the page again, and the
    document is opened as that page has it. If the page is another one, as while a server's noise
    rises, the open is an error.

    The environment variable ZEROSEARCH_SERVE_TOKEN is sent as the bearer token if it is set.

    Args:
        url: of the route, such as "http://127.0.0.1:8000/retrieve". It is stored in caches and
            transcripts, so it must not have credentials.
        timeout_s: seconds until the whole answer is read, for each try; None for 20 s. All tries
            end at the deadline of the environment.
        max_tries: how often a request is sent if the server fails.

    Raises:
        ValueError: if `url` is not an http(s) URL or has credentials, or a setting is out of
            range.
    """

    name = "http"
    query_only = thread_safe = can_open = True

    def __init__(self, url: str, *, timeout_s: float | None = None, max_tries: int = 3) -> None:
        if not re.fullmatch(r"https?://[^/@\s]+(/\S*)?", url):
            shown = re.sub(r"//[^/]*@", "//[credentials]@", url)
            raise ValueError(
                f"got the URL {shown!r}, expected http://HOST:PORT/retrieve without credentials; "
                f"set the environment variable {TOKEN_VARIABLE} to send a token"
            )
        if timeout_s is not None and timeout_s <= 0:
            raise ValueError(f"timeout_s must be positive, got {timeout_s}")
        self.url, self.timeout_s = url, timeout_s
        self._retries = RetryPolicy(max_tries, _BACKOFF_S)
        self.fingerprint = f"http-1:{url}"

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request; each distinct query is sent once.

        If a request with several queries fails, they are sent again in a request each. If there is
        no connection to the server, they all fail.

        Raises:
            SearchError: if there is only one request, and it fails.
        """
        sent = [request.shared() for request in requests]
        return raise_single(search_distinct(sent, self._pages))

    def open(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one document per request; `_request` tells opens and searches apart."""
        return self.search(requests)

    def _pages(self, requests: list[SearchRequest]) -> list[Answer]:
        """Return a page for each of distinct searches, or of distinct opens."""
        by_topk: dict[int, list[SearchRequest]] = {}
        for request in requests:
            by_topk.setdefault(len(request.useful), []).append(request)
        found: dict[SearchRequest, Answer] = {}
        for group in by_topk.values():
            for start in range(0, len(group), _MAX_QUERIES):
                found |= self._part(group[start : start + _MAX_QUERIES])
        return [found[request] for request in requests]

    def _part(self, requests: list[SearchRequest]) -> dict[SearchRequest, Answer]:
        """Send requests in one HTTP request, or each in its own if that request fails."""
        started = time.perf_counter()
        try:
            pages, opened = self._request(requests)
        except RequestFailed as failure:
            error = SearchError(f"{self.url} gave no page: {failure}")
            if len(requests) == 1 or failure.reason == _NO_CONNECTION:
                return dict.fromkeys(requests, error)
            # At the same time, because one of them may take until the deadline.
            contexts = [copy_context() for _ in requests]
            with ThreadPoolExecutor(_CONCURRENCY) as pool:
                parts = pool.map(
                    lambda context, one: context.run(self._part, [one]), contexts, requests
                )
                return {one: page for part in parts for one, page in part.items()}
        seconds = (time.perf_counter() - started) / len(requests)
        answers: dict[SearchRequest, Answer] = {}
        for number, (request, documents) in enumerate(zip(requests, pages, strict=True)):
            cost = SearchCost(calls=int(number == 0), seconds=seconds)
            page = SearchPage(documents[: len(request.useful)], cost, self.name)
            if request.document is None:
                answers[request] = page
            else:
                whole = None if opened is None else opened[number]
                answers[request] = opened_page(request, page, whole)
        return answers

    def _request(self, requests: list[SearchRequest], *, plain: bool = False) -> _Decoded:
        """Send searches or opens; with `plain`, opens without the extension."""
        opens = [] if plain else [one.document.rank + 1 for one in requests if one.document]
        values = {
            "queries": [request.query for request in requests],
            "topk": len(requests[0].useful),
            "return_scores": True,
        }
        body = json.dumps(values | {"open": opens} if opens else values).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        token = read_secret(TOKEN_VARIABLE)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url, body, headers)
        # A request with several queries leaves time to send them again, each in its own request.
        most = self._retries.max_tries if len(requests) == 1 else min(2, self._retries.max_tries)
        retries = replace(self._retries, max_tries=most)
        try:
            return retries.call(lambda: self._send(request, len(requests), token))
        except RequestFailed as error:
            if opens and error.final:  # a foreign server may refuse what it does not know
                return self._request(requests, plain=True)
            detail = str(error).removeprefix(error.reason).removeprefix(": ")
            reason, detail = (
                text.replace(token, "[token]") if token else text for text in (error.reason, detail)
            )
            raise RequestFailed(reason, detail) from None

    def _send(self, request: urllib.request.Request, count: int, token: str) -> _Decoded:
        try:
            # The answer must arrive before the deadline of the whole call.
            timeout_s = max(min(self.timeout_s or _TIMEOUT_S, 0.9 * time_left_s()), 0.001)
            deadline = time.monotonic() + timeout_s
            with _opener(self.url).open(request, timeout=timeout_s) as answer:
                received = _read(answer, deadline)
                return decode_pages(received, count), decode_opened(received, count)
        except urllib.error.HTTPError as error:
            status = f"status {error.code}{through_proxy(self.url)}"
            raise RequestFailed(status, _quoted(error, token), is_final(error.code)) from None
        except InvalidBody as error:
            raise RequestFailed(str(error)) from None
        except ValueError:  # it quotes the token
            reason = f"the request cannot be sent; check the URL and {TOKEN_VARIABLE}"
            raise RequestFailed(reason, final=True) from None
        except (OSError, http.client.HTTPException) as error:
            # Refused, reset, timed out, cut off, not HTTP: URLError is an OSError too.
            cause = getattr(error, "reason", error)
            refused = isinstance(cause, ConnectionRefusedError | socket.gaierror)
            reason = _NO_CONNECTION if refused else type(error).__name__
            raise RequestFailed(reason, f"{error}{through_proxy(self.url)}") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, which would send the token to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _opener(url: str) -> urllib.request.OpenerDirector:
    proxy = proxy_of(url)
    proxies = {} if proxy is None else {urlsplit(url).scheme: proxy}
    return urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler(proxies))


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
