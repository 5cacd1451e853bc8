"""Google through SerpAPI, the engine of the evaluation in the paper."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from zs_env.search.deadline import time_left_s
from zs_env.search.engine import Answer, SearchEngine, search_distinct
from zs_env.search.http_client import read_secret
from zs_env.search.retry import RequestFailed, RetryPolicy, is_final
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest

KEY_VARIABLE = "SERPAPI_API_KEY"
_TIMEOUT_S = 15.0
_BACKOFF_S = 0.5
# SerpAPI reports an empty result as this error. The search is billed.
_NO_RESULTS = "hasn't returned any results"


class GoogleEngine(SearchEngine):
    """Sends each distinct query of a batch to Google, several at a time.

    The key is read from the environment variable SERPAPI_API_KEY when a query is sent, and is not
    stored. Queries cost money: wrap the engine in a `MeteredEngine` with a budget and
    `PriceTable(call=0.00917)`, SerpAPI's price in 2025, and the meter in a `CachedEngine` with a
    file.

    Args:
        country: `gl` of SerpAPI, such as "us".
        language: `hl` of SerpAPI, such as "en".
        concurrency: queries sent at a time.
        timeout_s: seconds until a query is answered, for each try; None for 15 s. All tries end at
            the deadline of the environment.
        max_tries: how often a query is sent if the service fails. A refusal, such as for a wrong
            key or if no searches are left, is final.
        base_url: of the service, for a proxy or a test.

    Raises:
        ImportError: if the package serpapi is missing.
    """

    name = "google"
    query_only = thread_safe = True

    def __init__(
        self,
        *,
        country: str = "us",
        language: str = "en",
        concurrency: int = 8,
        timeout_s: float | None = None,
        max_tries: int = 3,
        base_url: str | None = None,
    ) -> None:
        _import_serpapi()
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, got {concurrency}")
        if timeout_s is not None and timeout_s <= 0:
            raise ValueError(f"timeout_s must be positive, got {timeout_s}")
        self._locale = {"gl": country, "hl": language}
        self._concurrency, self.timeout_s = concurrency, timeout_s
        self._retries = RetryPolicy(max_tries, _BACKOFF_S)
        self._base_url = base_url
        self.fingerprint = f"google-1:{country}:{language}"

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request, with a SearchError in the place of a failed one."""
        key = read_secret(KEY_VARIABLE)
        if not key:
            raise SearchError(
                f"Google needs a SerpAPI key; set the environment variable {KEY_VARIABLE}"
            )

        def search(queries: list[tuple[str, int]]) -> list[Answer]:
            contexts = [copy_context() for _ in queries]  # with the deadline
            with ThreadPoolExecutor(self._concurrency) as pool:
                return list(
                    pool.map(
                        lambda context, one: context.run(self._page, key, *one), contexts, queries
                    )
                )

        return search_distinct([(one.query, len(one.useful)) for one in requests], search)

    def _page(self, key: str, query: str, count: int) -> Answer:
        if not query.strip():
            return SearchPage((), engine=self.name)
        started = time.perf_counter()
        try:
            results = self._retries.call(lambda: self._send(key, query, count))
        except RequestFailed as error:
            tries = self._retries.max_tries
            reason = f"{error}" if error.final else f"no answer in {tries} tries; the last: {error}"
            return SearchError(f"Google: {reason}".replace(key, "[key]"))
        seconds = time.perf_counter() - started
        # Failed searches are not billed.
        cost = SearchCost(calls=1, seconds=seconds)
        return SearchPage(_documents(results, count), cost, self.name)

    def _send(self, key: str, query: str, count: int) -> list[Any]:
        serpapi = _import_serpapi()
        timeout_s = max(min(self.timeout_s or _TIMEOUT_S, 0.9 * time_left_s()), 0.001)
        client = serpapi.Client(api_key=key, timeout=timeout_s)
        if self._base_url is not None:
            client.BASE_DOMAIN = self._base_url
        try:
            answer = client.search(engine="google", q=query, num=count, **self._locale)
        except serpapi.TimeoutError:
            raise RequestFailed(f"no answer within {timeout_s:.1f} s") from None
        except serpapi.HTTPError as error:
            # The text of the exception has the address, and the address has the key.
            status, message = error.status_code, error.error or ""
            if status == -1:
                raise RequestFailed("no connection") from None
            # SerpAPI answers 429 if the account has no searches left.
            final = is_final(status) or status == 429
            raise RequestFailed(f"status {status}", message, final) from None
        except Exception as error:
            # `requests` has many exceptions, and each quotes the address.
            raise RequestFailed(type(error).__name__) from None
        finally:
            client.session.close()
        results = answer.get("organic_results") if hasattr(answer, "get") else None
        if isinstance(results, list):
            return results
        message = str(answer.get("error", "")) if hasattr(answer, "get") else ""
        if _NO_RESULTS in message:
            return []
        if message:
            raise RequestFailed(message, final=True)
        if hasattr(answer, "get") and answer.get("search_metadata"):
            return []
        quoted = str(answer).replace(key, "[key]")[:100]
        raise RequestFailed(f"expected organic_results, got {quoted!r}")


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
