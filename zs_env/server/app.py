"""Any engine behind `POST /retrieve`, noisy on demand: other frameworks search in it unchanged.

Requests that come while the engine is busy wait together and are one call of it. Every draw of a
query, its noise included, follows from the query's text, so equal queries are equal requests and a
cache answers all but the first.
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

from zs_env.noise import Noise, NoiseSchedule
from zs_env.questions.question import Question
from zs_env.search.engine import SearchEngine, as_engine, search_checked
from zs_env.search.types import BudgetExceeded, SearchError, SearchPage, SearchRequest
from zs_env.server.schemas import Retrieval, WireError, decode_retrieval, encode_pages
from zs_env.text.hashing import uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How much a server takes.

    Attributes:
        token: where given, requests must carry it as their bearer token; /health needs none.
        max_body: largest body, in bytes.
        requests_per_second: of all clients together; None for no limit.
        timeout_s: until a request is answered, and until a call of the engine is given up.
        max_batch: searches in one call of the engine.
        calls_at_once: calls of the engine under way.
        shutdown_s: that requests under way get when the server is told to stop.
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
        POST /retrieve: searches; `wire.py` says how they look.
        GET /noise, PUT /noise: `{"probability": p}`; put, it ends a schedule.
        GET /health: whether it serves.
        GET /metrics: counts in Prometheus' text format.

    Args:
        engine: answers; wrap it in a `CachedEngine` so that equal queries are one call.
        noise: chance that a search is answered with noisy documents; a schedule counts searches.
        questions: by id, for clients that send one; others search with their query alone.
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
        self.noise: Noise = _constant(noise) if isinstance(noise, int | float) else noise
        self.searches = 0
        self._bucket = _Bucket(self.settings.requests_per_second)
        self._waiting: asyncio.Queue[tuple[SearchRequest, asyncio.Future[Any]]] = asyncio.Queue()
        self._metrics = _Metrics()

    def application(self) -> web.Application:
        """Return the application, to run or to mount."""
        application = web.Application(
            client_max_size=self.settings.max_body, middlewares=[self._guard]
        )
        application.router.add_post("/retrieve", self._retrieve)
        application.router.add_get("/noise", self._get_noise)
        application.router.add_put("/noise", self._put_noise)
        application.router.add_get("/health", self._health)
        application.router.add_get("/metrics", self._show_metrics)
        application.cleanup_ctx.append(self._work)
        return application

    def probability(self) -> float:
        """Chance that the next search is noisy."""
        return self.noise.probability(self.searches)

    def as_request(self, query: str, question_id: str | None, topk: int) -> SearchRequest:
        """Make a query a request whose every draw follows from the query."""
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
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
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
        if not self._bucket.take():
            metrics.answers.labels("429").inc()
            raise web.HTTPTooManyRequests(text="too many requests", headers={"Retry-After": "1"})
        try:
            retrieval = decode_retrieval(await request.read())
            searches = self._as_requests(retrieval)
        except WireError as error:
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
            # Never an empty page: a client would take an outage for an answer.
            metrics.answers.labels("502").inc()
            raise web.HTTPBadGateway(text=f"the engine failed: {errors[0]}")
        body, content_type = encode_pages(retrieval, pages)
        metrics.answers.labels("200").inc()
        metrics.searches.inc(len(pages))
        metrics.noisy.inc(sum(not search.useful[0] for search in searches))
        metrics.seconds.observe(time.perf_counter() - started)
        return web.Response(body=body, content_type=content_type)

    def _as_requests(self, retrieval: Retrieval) -> list[SearchRequest]:
        unknown = [
            one for one in retrieval.question_ids if one is not None and one not in self.questions
        ]
        if unknown:
            raise WireError(
                f"no question has the id {unknown[0]!r}; this server knows "
                f"{len(self.questions)} questions"
            )
        pairs = zip(retrieval.queries, retrieval.question_ids, strict=True)
        return [self.as_request(query, one, retrieval.topk) for query, one in pairs]

    async def _search(self, searches: Sequence[SearchRequest]) -> list[Any]:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in searches]
        for pair in zip(searches, futures, strict=True):
            self._waiting.put_nowait(pair)
        self._metrics.waiting.set(self._waiting.qsize())
        return list(await asyncio.gather(*futures))

    async def _work(self, application: web.Application) -> AsyncIterator[None]:
        """Call the engine for as long as the application runs."""
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
            # Whoever has stopped waiting is not searched for.
            batch = [pair for pair in batch if not pair[1].done()]
            if not batch:
                continue
            pages = await self._pages_in_time([request for request, _ in batch])
            self._metrics.calls.inc()
            for (_, future), page in zip(batch, pages, strict=True):
                if not future.done():
                    future.set_result(page)

    async def _pages_in_time(self, requests: list[SearchRequest]) -> list[Any]:
        """Call the engine in a thread of its own, which is left behind where it hangs."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()

        def give(pages: list[Any]) -> None:
            if not answer.done():
                answer.set_result(pages)

        def call() -> None:
            pages = self._pages(requests)
            with suppress(RuntimeError):  # the server has stopped, and its loop with it
                loop.call_soon_threadsafe(give, pages)

        # A daemon, so that a hanging engine does not keep the process from ending.
        Thread(target=call, name="zs_env engine", daemon=True).start()
        try:
            return await asyncio.wait_for(answer, self.settings.timeout_s)
        except TimeoutError:
            late = SearchError(f"no page within {self.settings.timeout_s} s")
            return [late] * len(requests)

    def _pages(self, requests: list[SearchRequest]) -> list[Any]:
        try:
            return search_checked(self.engine, requests)
        except (SearchError, BudgetExceeded) as error:
            return [error] * len(requests)
        except Exception as error:
            # A user's engine may raise anything; the server goes on.
            return [SearchError(f"{type(error).__name__}: {error}")] * len(requests)

    async def _get_noise(self, request: web.Request) -> web.Response:
        return web.json_response({"probability": self.probability(), "searches": self.searches})

    async def _put_noise(self, request: web.Request) -> web.Response:
        try:
            probability = (await request.json())["probability"]
            self.noise = _constant(float(probability))
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
    """What /metrics shows."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        name = "zerosearch"
        self.answers = Counter(
            f"{name}_answers", "Answers to POST /retrieve", ["status"], registry=registry
        )
        self.searches = Counter(f"{name}_searches", "Searches answered", registry=registry)
        self.noisy = Counter(f"{name}_noisy_searches", "Of them noisy", registry=registry)
        self.calls = Counter(f"{name}_engine_calls", "Calls of the engine", registry=registry)
        self.seconds = Histogram(f"{name}_seconds", "Until an answer", registry=registry)
        self.noise = Gauge(f"{name}_noise_probability", "Of the next search", registry=registry)
        self.waiting = Gauge(f"{name}_waiting", "Searches that wait", registry=registry)


class _Bucket:
    """Lets through so many a second, and a second's worth at once."""

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._level = per_second or 0.0
        self._filled = time.monotonic()

    def take(self) -> bool:
        if self._per_second is None:
            return True
        now = time.monotonic()
        room = max(self._per_second, 1.0)
        self._level = min(room, self._level + (now - self._filled) * self._per_second)
        self._filled = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


def _constant(probability: float) -> NoiseSchedule:
    return NoiseSchedule(probability, probability, shape="constant")
