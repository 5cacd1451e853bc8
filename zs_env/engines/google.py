"""Google, through SerpAPI: the engine that the original is judged on."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from zs_env.search.types import (
    Document,
    SearchCost,
    SearchError,
    SearchPage,
    SearchRequest,
    shared_pages,
)

KEY_VARIABLE = "SERPAPI_API_KEY"
_BACKOFF_S = 0.5
# SerpAPI says in words that a query found nothing; that is an answer, and is paid for.
_NOTHING = "hasn't returned any results"


class GoogleEngine:
    """Asks Google for each different query of a batch, several at a time.

    The key is read from the environment variable SERPAPI_API_KEY when a query is sent, and written
    nowhere. Queries cost money: put a `MeteredEngine` around this, with a budget and
    `Prices(call=0.00917)`, SerpAPI's of 2025, and a `CachedEngine` with a file around the meter.

    Args:
        country: `gl` of SerpAPI, such as "us".
        language: `hl` of SerpAPI, such as "en".
        concurrency: queries sent at a time.
        timeout_s: until a query is answered.
        max_tries: how often a query is sent where the service fails it; refusals (a wrong key, no
            searches left) are final.
        base_url: of the service, for a proxy or a test.

    Raises:
        ImportError: if the package serpapi is missing.
    """

    name = "google"
    by_query = True

    def __init__(
        self,
        *,
        country: str = "us",
        language: str = "en",
        concurrency: int = 8,
        timeout_s: float = 15.0,
        max_tries: int = 3,
        base_url: str | None = None,
    ) -> None:
        _import_serpapi()
        for name, value in [("concurrency", concurrency), ("max_tries", max_tries)]:
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if timeout_s <= 0:
            raise ValueError(f"timeout_s must be positive, got {timeout_s}")
        self._locale = {"gl": country, "hl": language}
        self._concurrency, self._timeout_s, self._max_tries = concurrency, timeout_s, max_tries
        self._base_url = base_url
        self.fingerprint = f"google-1:{country}:{language}"

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage | SearchError]:
        """Return one page per request; a query that failed has its error in the page's place.

        Raises:
            SearchError: if there is no key.
        """
        key = os.environ.get(KEY_VARIABLE, "")
        if not key:
            raise SearchError(
                f"Google needs a SerpAPI key; set the environment variable {KEY_VARIABLE}"
            )
        asked = list(dict.fromkeys((one.query, len(one.useful)) for one in requests))
        with ThreadPoolExecutor(self._concurrency) as pool:
            answers = list(pool.map(lambda one: self._page(key, *one), asked))
        pages = dict(zip(asked, answers, strict=True))
        return shared_pages([(one.query, len(one.useful)) for one in requests], pages)

    def _page(self, key: str, query: str, count: int) -> SearchPage | SearchError:
        if not query.strip():
            return SearchPage((), engine=self.name)
        started = time.perf_counter()
        reason = ""
        for attempt in range(self._max_tries):
            if attempt:
                time.sleep(random.uniform(0.0, _BACKOFF_S * 2**attempt))
            try:
                results = self._ask(key, query, count)
            except _Refusal as error:
                return SearchError(f"Google: {error}".replace(key, "[key]"))
            except _Failure as error:
                reason = str(error).replace(key, "[key]")
                continue
            seconds = time.perf_counter() - started
            # Failed searches are not billed.
            return SearchPage(_documents(results, count), SearchCost(1, seconds=seconds), self.name)
        return SearchError(f"Google: no answer in {self._max_tries} tries; the last: {reason}")

    def _ask(self, key: str, query: str, count: int) -> list[Any]:
        serpapi = _import_serpapi()
        client = serpapi.Client(api_key=key, timeout=self._timeout_s)
        if self._base_url is not None:
            client.BASE_DOMAIN = self._base_url
        try:
            answer = client.search(engine="google", q=query, num=count, **self._locale)
        except serpapi.TimeoutError:
            raise _Failure(f"no answer within {self._timeout_s} s") from None
        except serpapi.HTTPError as error:
            # The exception's own text holds the address, and with it the key.
            status, words = error.status_code, error.error or ""
            if status == -1:
                raise _Failure("no connection") from None
            kind = _Refusal if 400 <= status < 500 and status != 408 else _Failure
            raise kind(f"status {status}: {words}") from None
        except Exception as error:
            # `requests` has many, and each quotes the address.
            raise _Failure(type(error).__name__) from None
        finally:
            client.session.close()
        results = answer.get("organic_results") if hasattr(answer, "get") else None
        if isinstance(results, list):
            return results
        words = str(answer.get("error", "")) if hasattr(answer, "get") else ""
        if _NOTHING in words:
            return []
        if words:
            raise _Refusal(words)
        if hasattr(answer, "get") and answer.get("search_metadata"):
            return []
        said = str(answer).replace(key, "[key]")[:100]
        raise _Failure(f"expected organic_results, got {said!r}")


class _Failure(Exception):
    """The service failed; it may not the next time."""


class _Refusal(Exception):
    """The service will not answer this, however often it is asked."""


def _documents(results: list[Any], count: int) -> tuple[Document, ...]:
    documents = []
    for result in results[:count]:
        if not isinstance(result, dict):
            continue
        title, snippet = (str(result.get(name) or "") for name in ("title", "snippet"))
        link = str(result.get("link") or "")
        if title or snippet:
            documents.append(Document(snippet, title, metadata=(("link", link),)))
    return tuple(documents)


def _import_serpapi() -> Any:
    try:
        import serpapi
    except ImportError as error:
        raise ImportError(
            'Google needs the package serpapi; pip install "zerosearch-gym[google]"'
        ) from error
    return serpapi
