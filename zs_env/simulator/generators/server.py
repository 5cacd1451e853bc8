"""A generator on servers with OpenAI's chat API: vLLM, SGLang, llama.cpp, hosted ones.

Each prompt is an asyncio task with its own deadline. The task waits for a free server, sends the
request, and retries on failure, on another server if possible. aiohttp is used because some servers
answer a thousand short requests per second.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from zs_env.search.deadline import time_left_s
from zs_env.search.http_client import HTTPLoop, base_urls, excerpt, import_aiohttp
from zs_env.search.retry import RequestFailed, RetryPolicy
from zs_env.simulator.generators.base import (
    Completion,
    GenerationError,
    NoResponse,
    Output,
    Prompt,
    PromptRejected,
    TextGenerator,
    TextSampling,
)
from zs_env.simulator.generators.server_pool import Server, ServerLimits, ServerPool
from zs_env.text.thinking import has_response

_TASKS_PER_YIELD = 32
_IDENTITY_TIMEOUT_S = 8.0
# What a server reports about a model, apart from what changes with each start.
_IDENTITY_FIELDS = ("id", "root", "parent", "meta")
_READ_TIMEOUT_S, _DEADLINE_S = 30.0, 55.0
_BACKOFF_S = 0.1
_LOOP_DELAY_S = 10.0  # of the event loop's thread on an overloaded machine


class ServerTextGenerator(TextGenerator):
    """Generates on one or several servers of the same model.

    Args:
        servers: base URLs, such as "http://127.0.0.1:8000/v1"; the default path is "/v1".
        model: the model's name on the servers. None uses a server's only model; it is an error if
            the server has several.
        sampling: sampling parameters. Seeds are sent as well, but a server may ignore them.
        limits: timeouts, retries, concurrency.
        extra: further fields of the request's body, such as `{"chat_template_kwargs": …}`.

    If the environment variable ZEROSEARCH_API_KEY is set, its value is sent as the bearer token.
    The variable is read for each request; the value is not stored.

    Raises:
        ValueError: if `servers` is empty, or holds something other than an http(s) URL.
        ImportError: if aiohttp is missing.
    """

    thread_safe = True

    def __init__(
        self,
        servers: Sequence[str] | str,
        model: str | None = None,
        *,
        sampling: TextSampling | None = None,
        limits: ServerLimits | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        import_aiohttp()
        self.urls = base_urls(servers)
        self.model = model
        self.sampling = sampling or TextSampling()
        self.limits = limits or ServerLimits()
        self.deadline_s = self.limits.longest_s
        self.extra = dict(extra or {})
        self._lock = threading.Lock()
        self._loop: HTTPLoop | None = None
        self._retries = RetryPolicy(self.limits.max_tries, _BACKOFF_S)
        self._pool = ServerPool(self.urls, model, self.limits)

    @property
    def fingerprint(self) -> str:
        """The model's name and the sampling; servers are interchangeable.

        If `model` is None, changing the served model does not invalidate cached pages. The same
        holds if another model is served under the same name.
        """
        extra = json.dumps(self.extra, sort_keys=True)
        return f"server-1:{self.model}:{self.sampling}:{extra}"

    def generate(self, prompts: Sequence[Prompt]) -> list[Output]:
        """Return one output per prompt, each within the deadline."""
        outputs: dict[int, Output] = {}
        self.generate_stream(prompts, outputs.__setitem__)
        return [outputs[index] for index in range(len(prompts))]

    def generate_stream(
        self, prompts: Sequence[Prompt], callback: Callable[[int, Output], None]
    ) -> None:
        """Call `callback(index, output)` for each prompt in the order of completion."""
        queue: SimpleQueue[tuple[int, Output] | None] = SimpleQueue()
        # The texts must be there before the deadline of the engine call.
        deadline_s = min(self.limits.deadline_s or _DEADLINE_S, 0.9 * time_left_s())
        done = self._running_loop().submit(self._generate_all(prompts, queue, deadline_s))
        done.add_done_callback(lambda _: queue.put(None))
        # Each task in the loop enforces the deadline; the wait is longer only if the loop hangs.
        longest_s = 2 * deadline_s + _LOOP_DELAY_S
        try:
            while (item := queue.get(timeout=longest_s)) is not None:
                callback(*item)
        except Empty:
            raise TimeoutError(
                f"{', '.join(self.urls)}: no result within {longest_s:g} s, though each request "
                f"ends within {deadline_s:g} s; this process is overloaded"
            ) from None
        done.result()

    def served_models(self) -> list[str]:
        """Return the identities of the served models, as JSON, by what their servers report.

        If `model` is set, only this model counts. A server that does not list its models has none.

        Raises:
            ConnectionError: if no server answers within 8 s.
        """
        rows = self._running_loop().submit(self._identities()).result(timeout=2 * _DEADLINE_S)
        if all(isinstance(row, str) for row in rows):
            raise ConnectionError(
                "no model server answers: "
                + "; ".join(f"{url}: {row}" for url, row in zip(self.urls, rows, strict=True))
                + ". Start the server, or correct its address"
            )
        return sorted({card for row in rows if not isinstance(row, str) for card in row})

    def check(self) -> list[dict[str, Any]]:
        """Request the list of models from each server.

        Returns:
            For each server its `url`, and either `models` or `error`.
        """
        return self._running_loop().submit(self._check_all()).result(timeout=2 * _DEADLINE_S)

    def report(self) -> list[dict[str, Any]]:
        """Return for each server its answers, failures and how often its circuit breaker opened."""
        return [
            {
                "url": server.url,
                "answered": server.answered,
                "failures": dict(server.failures),
                "breaker_opened": server.breaker_openings,
            }
            for server in self._pool.servers
        ]

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.stop()

    def __getstate__(self) -> dict[str, Any]:
        pool = ServerPool(self.urls, self.model, self.limits)
        state = dict(self.__dict__, _loop=None, _pool=pool)
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _running_loop(self) -> HTTPLoop:
        with self._lock:
            if self._loop is None or self._loop.pid != os.getpid():
                self._loop = HTTPLoop(connect_timeout_s=self.limits.connect_timeout_s)
                self._pool = ServerPool(self.urls, self.model, self.limits)
                # Avoids a warning about open connections if `close` is never called.
                weakref.finalize(self, self._loop.stop)
            return self._loop

    async def _generate_all(
        self, prompts: Sequence[Prompt], queue: SimpleQueue[Any], deadline_s: float
    ) -> None:
        started = asyncio.get_running_loop().time()
        deadline = started + deadline_s
        async with asyncio.TaskGroup() as tasks:
            for index, prompt in enumerate(prompts):
                tasks.create_task(self._generate_one(index, prompt, started, deadline, queue))
                if index % _TASKS_PER_YIELD == 0:
                    # Lets the first requests start before all tasks exist.
                    await asyncio.sleep(0)

    async def _generate_one(
        self,
        index: int,
        prompt: Prompt,
        started: float,
        deadline: float,
        queue: SimpleQueue[Any],
    ) -> None:
        """Put the index and the output of a prompt into the queue."""
        loop, limits = self._running_loop(), self.limits
        clock = asyncio.get_running_loop().time
        avoid: Server | None = None
        reasons: list[str] = []
        error: type[GenerationError] = GenerationError
        for attempt in range(limits.max_tries):
            if attempt:
                pause = min(self._retries.pause_s(attempt), max(deadline - clock(), 0.0))
                await asyncio.sleep(pause)
            server = await self._pool.acquire(avoid=avoid, deadline=deadline)
            if server is None:
                reasons.append("no server was free before the deadline")
                error = GenerationError
                break
            try:
                completion = await self._request(loop, server, prompt, deadline)
            except RequestFailed as failure:
                blank = failure.reason == "no content"
                blame = not (failure.final or failure.of_prompt or blank)
                self._pool.release(server, failure.reason, blame=blame)
                reasons.append(f"{server.url}: {failure}")
                error = NoResponse if blank else GenerationError
                if failure.of_prompt:
                    error = PromptRejected
                if failure.final:
                    break
                avoid = server
            except BaseException:
                self._pool.release(server, "cancelled", blame=False)
                raise
            else:
                self._pool.release(server, None)
                queue.put((index, replace(completion, calls=attempt + 1)))
                return
        failure = error(
            f"no text after {len(reasons)} tries in {clock() - started:.1f} s; the last failure: "
            f"{reasons[-1]}"
        )
        queue.put((index, failure))

    async def _request(
        self, loop: HTTPLoop, server: Server, prompt: Prompt, deadline: float
    ) -> Completion:
        if server.model is None:
            server.model = await self._only_model(loop, server)
        sampling = self.sampling
        body = {
            "model": server.model,
            "messages": prompt.messages(),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            # Some servers store seeds in 32 bits.
            "seed": prompt.seed & 0x7FFFFFFF,
            **self.extra,
        }
        if sampling.frequency_penalty:  # some servers reject the field even if it is 0
            body.setdefault("frequency_penalty", sampling.frequency_penalty)
        remaining = deadline - asyncio.get_running_loop().time()
        timeout = max(min(self.limits.read_timeout_s or _READ_TIMEOUT_S, remaining), 0.001)
        answer = await loop.request("POST", f"{server.url}/chat/completions", timeout, body)
        return _as_completion(answer)

    async def _only_model(self, loop: HTTPLoop, server: Server) -> str:
        timeout = self.limits.read_timeout_s or _READ_TIMEOUT_S
        models = [str(card.get("id")) for card in await self._cards(loop, server, timeout)]
        if len(models) != 1:
            raise RequestFailed(
                "model", f"the server has the models {models}; choose one with model=", True
            )
        return models[0]

    async def _cards(self, loop: HTTPLoop, server: Server, timeout: float) -> list[dict[str, Any]]:
        """Return what a server reports about its models."""
        answer = await loop.request("GET", f"{server.url}/models", timeout, None)
        rows = answer.get("data")
        if not isinstance(rows, list):
            raise RequestFailed("garbage", f"expected a list of models, got {excerpt(answer)}")
        return [row for row in rows if isinstance(row, dict)]

    async def _identities(self) -> list[list[str] | str]:
        """Return for each server the identities of its models, or why it does not answer."""
        loop = self._running_loop()

        async def identify(server: Server) -> list[str] | str:
            try:
                cards = await self._cards(loop, server, _IDENTITY_TIMEOUT_S)
            except RequestFailed as error:
                return str(error) if error.reason in ("connection", "timeout") else []
            return [
                json.dumps({name: card.get(name) for name in _IDENTITY_FIELDS}, sort_keys=True)
                for card in cards
                if self.model in (None, card.get("id"))
            ]

        return await asyncio.gather(*map(identify, self._pool.servers))

    async def _check_all(self) -> list[dict[str, Any]]:
        loop = self._running_loop()

        async def check(server: Server) -> dict[str, Any]:
            try:
                timeout = self.limits.read_timeout_s or _READ_TIMEOUT_S
                cards = await self._cards(loop, server, timeout)
                return {"url": server.url, "models": [str(card.get("id")) for card in cards]}
            except RequestFailed as error:
                return {"url": server.url, "error": str(error)}

        return await asyncio.gather(*map(check, self._pool.servers))


def _as_completion(answer: dict[str, Any]) -> Completion:
    try:
        choice = answer["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        content, refusal = message.get("content"), message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise RequestFailed(
            "garbage", f"expected choices[0].message.content, got {excerpt(answer)}"
        ) from None
    # Some servers return the content in parts.
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    if content is not None and not isinstance(content, str):
        raise RequestFailed(
            "garbage", f"expected a text in choices[0].message.content, got {excerpt(answer)}"
        )
    if not content or not has_response(content):
        if refusal or finish == "content_filter":
            raise RequestFailed("refused", f"the model refused the prompt: {excerpt(answer)}", True)
        detail = f"the server returned no text besides thinking: {excerpt(answer)}"
        if finish == "length":
            raise RequestFailed(
                "no content", f"max_tokens was used up; raise sampling.max_tokens. {detail}", True
            )
        raise RequestFailed("no content", detail)
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    tokens = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt_tokens, completion_tokens = (n if isinstance(n, int) and n >= 0 else 0 for n in tokens)
    return Completion(content, prompt_tokens, completion_tokens, finish == "length")
