"""Serves an engine at `POST /retrieve`, with optional noise, to clients of other frameworks.

Requests that arrive while the engine is busy are batched into one call. The seed of a request and
its noise are derived from the query's text. Equal queries are therefore equal requests, and a cache
answers all but the first.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from threading import Thread
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from zs_env.noise import Noise, build_noise
from zs_env.questions.question import Question
from zs_env.search.engine import SearchEngine, as_engine, search_checked
from zs_env.search.types import BudgetExceeded, SearchError, SearchPage, SearchRequest
from zs_env.server.schemas import InvalidBody, RetrieveRequest, decode_request, encode_pages
from zs_env.text.hashing import uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Limits of a server.

    Attributes:
        token: bearer token that requests must have; None for no token. /health needs no token.
        max_body: maximum size of a body in bytes.
        requests_per_second: rate limit over all clients; None for no limit.
        timeout_s: maximum time to answer a request, and of one engine call.
        max_batch: maximum number of searches in one engine call.
        calls_at_once: maximum number of concurrent engine calls.
        shutdown_s: time that open requests have to complete when the server stops.
    """

    token: str | None = None
    max_body: int = 16 * 2**20
    requests_per_second: float | None = None
    timeout_s: float = 60.0
    max_batch: int = 256
    calls_at_once: int = 4
    shutdown_s: float = 10.0


class SearchServer:
    """An aiohttp application around an engine.

    Routes:
        POST /retrieve: searches; see `schemas.py` for the format.
        GET /noise, PUT /noise: `{"probability": p}`; PUT replaces the noise schedule.
        GET /health: whether the server runs.
        GET /metrics: metrics in Prometheus' text format.

    Args:
        engine: wrap it in a `CachedEngine` so that equal queries are one call.
        noise: noise probability, or a schedule of it whose step is the number of searches.
        questions: questions by id, for clients that send ids. Other requests have only a query.
        settings: limits.
    """

    def __init__(
        self,
        engine: SearchEngine,
        *,
        noise: float | Noise = 0.0,
        questions: Mapping[str, Question] | None = None,
        settings: ServerSettings | None = None,
    ) -> None:
        self.engine, self.questions = as_engine(engine), questions or {}
        self.settings = settings or ServerSettings()
        self.noise: Noise = build_noise(noise) if isinstance(noise, int | float) else noise
        self.searches = 0
        self._rate_limiter = _RateLimiter(self.settings.requests_per_second)
        self._waiting: asyncio.Queue[tuple[SearchRequest, asyncio.Future[Any]]] = asyncio.Queue()
        self._metrics = _Metrics()

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application(
            client_max_size=self.settings.max_body, middlewares=[self._check_token]
        )
        application.router.add_post("/retrieve", self._retrieve)
        application.router.add_get("/noise", self._get_noise)
        application.router.add_put("/noise", self._put_noise)
        application.router.add_get("/health", self._health)
        application.router.add_get("/metrics", self._show_metrics)
        application.cleanup_ctx.append(self._run_workers)
        return application

    def probability(self) -> float:
        """Noise probability of the next search."""
        return self.noise.probability(self.searches)

    def make_request(self, query: str, question_id: str | None, topk: int) -> SearchRequest:
        """Return a request whose noise and seed are derived from the query."""
        digest = blake2b(query.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        useful = uniform(int.from_bytes(digest[:8], "little")) >= self.probability()
        self.searches += 1
        question = None if question_id is None else self.questions.get(question_id)
        return SearchRequest(
            query=query,
            question=None if question is None else question.text,
            answers=None if question is None else question.answers,
            useful=(useful,) * topk,
            seed=int.from_bytes(digest[8:], "little") >> 1,
        )

    @web.middleware
    async def _check_token(self, request: web.Request, handler: Any) -> web.StreamResponse:
        token = self.settings.token
        if token is not None and request.path != "/health":
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(
                given.encode("utf-8", "surrogateescape"), f"Bearer {token}".encode()
            ):
                raise web.HTTPUnauthorized(text="expected the header 'Authorization: Bearer …'")
        return await handler(request)

    async def _retrieve(self, request: web.Request) -> web.Response:
        metrics, started = self._metrics, time.perf_counter()
        if not self._rate_limiter.allow():
            metrics.answers.labels("429").inc()
            raise web.HTTPTooManyRequests(text="too many requests", headers={"Retry-After": "1"})
        try:
            decoded = decode_request(await request.read())
            searches = self._search_requests(decoded)
        except InvalidBody as error:
            metrics.answers.labels("400").inc()
            raise web.HTTPBadRequest(text=str(error)) from None
        try:
            pages = await asyncio.wait_for(self._search(searches), self.settings.timeout_s)
        except TimeoutError:
            metrics.answers.labels("504").inc()
            raise web.HTTPGatewayTimeout(
                text=f"no page within {self.settings.timeout_s} s"
            ) from None
        errors = [page for page in pages if not isinstance(page, SearchPage)]
        if errors:
            # An empty page would hide the failure from the client.
            metrics.answers.labels("502").inc()
            raise web.HTTPBadGateway(text=f"the engine failed: {errors[0]}")
        body, content_type = encode_pages(decoded, pages)
        metrics.answers.labels("200").inc()
        metrics.searches.inc(len(pages))
        metrics.noisy.inc(sum(not search.useful[0] for search in searches))
        metrics.seconds.observe(time.perf_counter() - started)
        return web.Response(body=body, content_type=content_type)

    def _search_requests(self, decoded: RetrieveRequest) -> list[SearchRequest]:
        unknown = [
            one for one in decoded.question_ids if one is not None and one not in self.questions
        ]
        if unknown:
            raise InvalidBody(
                f"no question has the id {unknown[0]!r}; this server has "
                f"{len(self.questions)} questions"
            )
        pairs = zip(decoded.queries, decoded.question_ids, strict=True)
        return [self.make_request(query, one, decoded.topk) for query, one in pairs]

    async def _search(self, searches: Sequence[SearchRequest]) -> list[Any]:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in searches]
        for pair in zip(searches, futures, strict=True):
            self._waiting.put_nowait(pair)
        self._metrics.waiting.set(self._waiting.qsize())
        return list(await asyncio.gather(*futures))

    async def _run_workers(self, application: web.Application) -> AsyncIterator[None]:
        """Run the tasks that call the engine until the application stops."""
        workers = [
            asyncio.create_task(self._call_engine()) for _ in range(self.settings.calls_at_once)
        ]
        yield
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _call_engine(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < self.settings.max_batch and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            # Skip requests that have timed out.
            batch = [pair for pair in batch if not pair[1].done()]
            if not batch:
                continue
            pages = await self._pages_in_time([request for request, _ in batch])
            self._metrics.calls.inc()
            for (_, future), page in zip(batch, pages, strict=True):
                if not future.done():
                    future.set_result(page)

    async def _pages_in_time(self, requests: list[SearchRequest]) -> list[Any]:
        """Call the engine in a new thread, which is abandoned if it hangs."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()

        def set_pages(pages: list[Any]) -> None:
            if not answer.done():
                answer.set_result(pages)

        def call() -> None:
            pages = self._pages(requests)
            with suppress(RuntimeError):  # the event loop has stopped
                loop.call_soon_threadsafe(set_pages, pages)

        # A daemon thread does not keep the process alive.
        Thread(target=call, name="zs_env engine", daemon=True).start()
        try:
            return await asyncio.wait_for(answer, self.settings.timeout_s)
        except TimeoutError:
            error = SearchError(f"no page within {self.settings.timeout_s} s")
            return [error] * len(requests)

    def _pages(self, requests: list[SearchRequest]) -> list[Any]:
        try:
            return search_checked(self.engine, requests)
        except (SearchError, BudgetExceeded) as error:
            return [error] * len(requests)
        except Exception as error:
            # A user's engine may raise any exception; the server must keep running.
            return [SearchError(f"{type(error).__name__}: {error}")] * len(requests)

    async def _get_noise(self, request: web.Request) -> web.Response:
        return web.json_response({"probability": self.probability(), "searches": self.searches})

    async def _put_noise(self, request: web.Request) -> web.Response:
        try:
            probability = (await request.json())["probability"]
            self.noise = build_noise(float(probability))
        except (ValueError, KeyError, TypeError) as error:
            raise web.HTTPBadRequest(
                text=f'expected {{"probability": p}} with p in [0, 1]: {error}'
            ) from None
        return await self._get_noise(request)

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "engine": self.engine.name})

    async def _show_metrics(self, request: web.Request) -> web.Response:
        self._metrics.noise.set(self.probability())
        headers = {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        return web.Response(body=generate_latest(self._metrics.registry), headers=headers)


class _Metrics:
    """Prometheus metrics."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        name = "zerosearch"
        self.answers = Counter(
            f"{name}_answers", "Answers to POST /retrieve", ["status"], registry=registry
        )
        self.searches = Counter(f"{name}_searches", "Searches answered", registry=registry)
        self.noisy = Counter(f"{name}_noisy_searches", "Noisy searches", registry=registry)
        self.calls = Counter(f"{name}_engine_calls", "Engine calls", registry=registry)
        self.seconds = Histogram(f"{name}_seconds", "Latency of answers", registry=registry)
        self.noise = Gauge(f"{name}_noise_probability", "Noise probability", registry=registry)
        self.waiting = Gauge(f"{name}_waiting", "Waiting searches", registry=registry)


class _RateLimiter:
    """A token bucket that holds the tokens of one second."""

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._tokens = per_second or 0.0
        self._updated = time.monotonic()

    def allow(self) -> bool:
        """Take a token if there is one."""
        if self._per_second is None:
            return True
        now = time.monotonic()
        refilled = self._tokens + (now - self._updated) * self._per_second
        self._tokens = min(max(self._per_second, 1.0), refilled)
        self._updated = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
