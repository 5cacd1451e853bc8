"""Serves an engine at `POST /retrieve`, with optional noise, to clients of other frameworks.

Requests that arrive while the engine is busy are batched into one call. The seed of a request and
its noise are derived from the query's text. Equal queries are therefore equal requests, and a cache
answers all but the first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from threading import Thread
from typing import Any

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from zs_env.noise import (
    Noise,
    NoiseKinds,
    build_noise,
    build_noise_kinds,
    check_noise,
    draw_noise_kind,
)
from zs_env.questions.question import Question
from zs_env.search.deadline import deadline_of
from zs_env.search.engine import SearchEngine, as_engine, check_timeout, search_checked
from zs_env.search.types import BudgetExceeded, SearchError, SearchPage, SearchRequest
from zs_env.search.validation import is_noisy_page
from zs_env.server.access import check_access, is_msgpack, refusal
from zs_env.server.metrics import RateLimiter, ServerMetrics
from zs_env.server.schemas import (
    InvalidBody,
    RetrieveRequest,
    decode_object,
    decode_request,
    encode_pages,
)
from zs_env.server.settings import ServerSettings
from zs_env.text.hashing import uniform

_CLOSE_S = 1.0  # from the answer to an incomplete body until the connection is closed


class SearchServer:
    """An aiohttp application around an engine.

    Routes:
        POST /retrieve: searches; see `schemas.py` for the format.
        GET /noise, PUT /noise: `{"probability": p}`; PUT replaces the noise schedule.
        GET /health: whether the server runs.
        GET /metrics: metrics in Prometheus' text format.

    Args:
        engine: wrap it in a `CachedEngine` so that equal queries are one call.
        noise: noise probability, or a schedule of it whose step is the number of searches. Noise
            above 0 needs an engine with `supports_noise`.
        noise_kinds: kinds of noise, or their weights, as `zs_env.noise.build_noise_kinds` takes
            them. The query determines the kind of its page.
        questions: questions by id, for clients that send ids. Other requests have only a query.
        settings: limits.
    """

    def __init__(
        self,
        engine: SearchEngine,
        *,
        noise: float | str | Noise = 0.0,
        noise_kinds: NoiseKinds = "irrelevant",
        questions: Mapping[str, Question] | None = None,
        settings: ServerSettings | None = None,
    ) -> None:
        self.engine, self.questions = as_engine(engine), questions or {}
        self.settings = settings or ServerSettings()
        check_timeout(self.engine, self.settings.timeout_s, "timeout_s")
        self.noise = build_noise(noise)
        self.noise_kinds = build_noise_kinds(noise_kinds)
        check_noise(self.engine, self.noise, self.noise_kinds)
        self.searches = 0
        self.busy: set[Any] = set()  # connections with a request
        self._rate_limiter = RateLimiter(self.settings.queries_per_second)
        self._waiting: asyncio.Queue[tuple[SearchRequest, asyncio.Future[Any]]] = asyncio.Queue()
        self._metrics = ServerMetrics()

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application(
            client_max_size=self.settings.max_body, middlewares=[self._answer]
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
        question = None if question_id is None else self.questions.get(question_id)
        return SearchRequest(
            query=query,
            question=None if question is None else question.text,
            answers=None if question is None else question.answers,
            useful=(useful,) * topk,
            seed=int.from_bytes(digest[8:], "little") >> 1,
            noise_kind=draw_noise_kind(self.noise_kinds, f"{digest.hex()}\0kind"),
        )

    @web.middleware
    async def _answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Check the access to a route, and convert errors of its handler to HTTP errors."""
        status = 0
        self.busy.add(request.protocol)
        try:
            check_access(request, self.settings.token, no_auth=self.settings.no_auth)
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        except InvalidBody as error:
            status = 400
            raise refusal(web.HTTPBadRequest, str(error)) from None
        except Exception:
            status = 500
            raise
        finally:
            self.busy.discard(request.protocol)
            if request.transport is not None and not request.content.is_eof():
                asyncio.get_running_loop().call_later(_CLOSE_S, request.transport.close)
            if request.path == "/retrieve" and status:  # 0 if the client has disconnected
                self._metrics.answers.labels(str(status)).inc()

    async def _read(self, request: web.Request) -> bytes:
        """Return the body of a request.

        Raises:
            HTTPRequestTimeout: if the body is not complete in time.
            InvalidBody: if its encoding is malformed.
        """
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await request.read()
        except web.RequestPayloadError as error:
            raise InvalidBody(f"the body is malformed: {error}") from None
        except TimeoutError:
            raise refusal(
                web.HTTPRequestTimeout, f"no complete body within {self.settings.timeout_s} s"
            ) from None

    async def _retrieve(self, request: web.Request) -> web.StreamResponse:
        metrics, started = self._metrics, time.perf_counter()
        as_msgpack = is_msgpack(request)
        decoded = decode_request(await self._read(request), is_msgpack=as_msgpack)
        self._check_limits(decoded)
        searches = self._search_requests(decoded)
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                pages = self._pages_of(await self._search(searches))
                opened = await self._open(decoded, searches, pages)
        except TimeoutError:
            raise refusal(
                web.HTTPGatewayTimeout, f"no page within {self.settings.timeout_s} s"
            ) from None
        body, content_type = encode_pages(decoded, pages, opened)
        if not decoded.open:
            metrics.searches.inc(len(pages))
            metrics.noisy.inc(sum(map(is_noisy_page, searches, pages)))
        metrics.seconds.observe(time.perf_counter() - started)
        return await self._send(request, web.Response(body=body, content_type=content_type))

    async def _open(
        self,
        decoded: RetrieveRequest,
        searches: Sequence[SearchRequest],
        pages: Sequence[SearchPage],
    ) -> list[SearchPage]:
        """Return the opened documents of pages; [] if none is requested or the engine opens none.

        Raises:
            InvalidBody: if a page does not have the document.
            HTTPBadGateway: if the engine fails.
        """
        if not self.engine.can_open:
            return []
        opens: list[SearchRequest] = []
        for search, page, number in zip(searches, pages, decoded.open, strict=False):
            if number > len(page.documents):
                found = f"{search.query!r} found {len(page.documents)} documents"
                raise InvalidBody(f"'open' has {number}, but the query {found}")
            shown = replace(page.documents[number - 1], rank=number - 1)
            opens.append(replace(search, document=shown))
        return self._pages_of(await self._search(opens))

    def _pages_of(self, answers: Sequence[Any]) -> list[SearchPage]:
        """Return the answers if all are pages; an empty page would hide a failure."""
        for answer in answers:
            if not isinstance(answer, SearchPage):
                raise refusal(web.HTTPBadGateway, f"the engine failed: {answer}")
        return list(answers)

    async def _send(self, request: web.Request, response: web.Response) -> web.Response:
        """Send an answer; drop the connection of a client that does not read it in time."""
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        return response

    def _check_limits(self, decoded: RetrieveRequest) -> None:
        count, settings = len(decoded.queries), self.settings
        if count * decoded.topk > settings.max_documents:
            raise InvalidBody(
                f"expected at most {settings.max_documents} documents in an answer, got {count} "
                f"queries with topk {decoded.topk}; send several requests"
            )
        if not self._rate_limiter.allow(count):
            raise refusal(
                web.HTTPTooManyRequests,
                f"more than {settings.queries_per_second:g} queries per second; a request may have "
                f"at most {int(self._rate_limiter.size)}",
                **{"Retry-After": "1"},
            )
        if self._waiting.qsize() + count > settings.max_waiting:
            raise refusal(
                web.HTTPServiceUnavailable,
                f"more than {settings.max_waiting} queries wait for the engine",
                **{"Retry-After": "1"},
            )

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
        searches: list[SearchRequest] = []
        for query, one in pairs:
            searches.append(self.make_request(query, one, decoded.topk))
            self.searches += not decoded.open  # an open repeats its search
        return searches

    async def _search(self, searches: Sequence[SearchRequest]) -> list[Any]:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in searches]
        for pair in zip(searches, futures, strict=True):
            self._waiting.put_nowait(pair)
        self._metrics.waiting.set(self._waiting.qsize())
        return list(await asyncio.gather(*futures))

    async def _run_workers(self, application: web.Application) -> AsyncIterator[None]:
        """Run the tasks that call the engine until the application stops."""
        count = self.settings.calls_at_once if self.engine.thread_safe else 1
        workers = [asyncio.create_task(self._call_engine()) for _ in range(count)]
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
            with deadline_of(self.settings.timeout_s):
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
        except BudgetExceeded as error:
            return [error] * len(requests)

    async def _get_noise(self, request: web.Request) -> web.Response:
        return web.json_response({"probability": self.probability(), "searches": self.searches})

    async def _put_noise(self, request: web.Request) -> web.Response:
        if is_msgpack(request):
            raise refusal(web.HTTPUnsupportedMediaType, "expected the content type of JSON")
        probability = decode_object(await self._read(request)).get("probability")
        if isinstance(probability, bool) or not isinstance(probability, int | float):
            raise InvalidBody(
                f'expected {{"probability": p}} with a number p in [0, 1], got {probability!r}'
            )
        try:
            check_noise(self.engine, probability, self.noise_kinds)
            self.noise = build_noise(probability)
        except ValueError as error:
            raise InvalidBody(str(error)) from None
        return await self._get_noise(request)

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "engine": self.engine.name})

    async def _show_metrics(self, request: web.Request) -> web.Response:
        self._metrics.noise.set(self.probability())
        headers = {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        return web.Response(body=generate_latest(self._metrics.registry), headers=headers)
