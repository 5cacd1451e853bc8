"""A generator behind servers that speak OpenAI's chat API: vLLM, SGLang, llama.cpp, hosted ones.

Every prompt is a task of its own with a deadline of its own: it waits for a server with room, asks,
and where that fails asks again, elsewhere if it can. aiohttp carries it, because the client has to
keep up with servers that answer a thousand short requests a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from queue import SimpleQueue
from typing import Any

from zs_env.search.http_client import HTTPLoop, RequestFailed, base_url, excerpt, import_aiohttp
from zs_env.simulator.generators.base import (
    Completion,
    GenerationError,
    Prompt,
    PromptRejected,
    TextSampling,
)
from zs_env.simulator.generators.server_pool import Server, ServerPool

_STARTED_AT_ONCE = 32
_BACKOFF_S, _MAX_BACKOFF_S = 0.1, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """How long and how often servers are asked.

    Attributes:
        concurrency: requests that one server works on at a time.
        connect_timeout_s: until a connection stands.
        read_timeout_s: until a request is answered.
        deadline_s: for a prompt, all tries and all waiting included.
        max_tries: requests made for one prompt.
        failures_to_open: failures in a row after which a server is left alone.
        cooldown_s: how long that first lasts; doubles up to a minute.
    """

    concurrency: int = 64
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0
    deadline_s: float = 55.0
    max_tries: int = 8
    failures_to_open: int = 5
    cooldown_s: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")


class ServerTextGenerator:
    """Writes through one or several servers of the same model.

    Args:
        servers: base URLs, such as "http://127.0.0.1:8000/v1"; where the path is missing, "/v1".
        model: as the servers name it. None takes the one that a server has, and is an error where
            it has several.
        sampling: how text is drawn. Seeds are sent along; a server may ignore them.
        limits: timeouts, tries, concurrency.
        extra: further fields of the request's body, such as `{"chat_template_kwargs": …}`.

    The environment variable ZEROSEARCH_API_KEY, where it is set, is sent as the bearer token. It is
    read when requests are made and kept nowhere.

    Raises:
        ValueError: if there is no server, or one is no http(s) URL.
        ImportError: if aiohttp is missing.
    """

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
        self.urls = [base_url(url) for url in ([servers] if isinstance(servers, str) else servers)]
        if not self.urls:
            raise ValueError("got no server; give the base URL of at least one")
        self.model = model
        self.sampling = sampling or TextSampling()
        self.limits = limits or ServerLimits()
        self.extra = dict(extra or {})
        self._lock = threading.Lock()
        self._loop: HTTPLoop | None = None
        self._pool = self._make_pool()

    @property
    def fingerprint(self) -> str:
        """Model, as it was given, and sampling; which server answers does not matter.

        Without `model`, or where another one is served under the same name, pages that a cache
        kept and evaluations that were begun are gone on with as if nothing had changed.
        """
        extra = json.dumps(self.extra, sort_keys=True)
        return f"server-1:{self.model}:{self.sampling}:{extra}"

    @property
    def deadline_s(self) -> float:
        """Seconds after which a page comes too late, tries and retries included."""
        return self.limits.deadline_s

    def generate(self, prompts: Sequence[Prompt]) -> list[Completion | GenerationError]:
        """Return one text per prompt; none takes longer than `limits.deadline_s`."""
        written: dict[int, Completion | GenerationError] = {}
        self.generate_stream(prompts, written.__setitem__)
        return [written[number] for number in range(len(prompts))]

    def generate_stream(
        self, prompts: Sequence[Prompt], take: Callable[[int, Completion | GenerationError], None]
    ) -> None:
        """Call `take` with each prompt's number and text as soon as it is written, in any order."""
        come: SimpleQueue[tuple[int, Completion | GenerationError] | None] = SimpleQueue()
        done = self._running().submit(self._write_all(prompts, come))
        done.add_done_callback(lambda _: come.put(None))
        while (one := come.get(timeout=self._grace_s)) is not None:
            take(*one)
        done.result()

    def check(self) -> list[dict[str, Any]]:
        """Ask every server for its models.

        Returns:
            For each server its `url`, and either `models` or `error`.
        """
        return self._running().submit(self._check_all()).result(timeout=self._grace_s)

    def report(self) -> list[dict[str, Any]]:
        """Say by server what became of the requests: answers, failures, openings of its breaker."""
        return [
            {
                "url": server.url,
                "answered": server.answered,
                "failures": dict(server.failures),
                "breaker_opened": server.opened,
            }
            for server in self._pool.servers
        ]

    def close(self) -> None:
        """End the connections; a later call opens them anew."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.stop()

    @property
    def _grace_s(self) -> float:
        """Every task keeps its own deadline; this is for the loop itself."""
        return self.limits.deadline_s + self.limits.read_timeout_s

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__, _loop=None, _pool=self._make_pool())
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _running(self) -> HTTPLoop:
        with self._lock:
            if self._loop is None or self._loop.pid != os.getpid():
                self._loop = HTTPLoop(connect_timeout_s=self.limits.connect_timeout_s)
                self._pool = self._make_pool()
                # Whoever forgets to close it loses no connection in a way that warns.
                weakref.finalize(self, self._loop.stop)
            return self._loop

    def _make_pool(self) -> ServerPool:
        return ServerPool(
            [Server(url, self.model) for url in self.urls],
            concurrency=self.limits.concurrency,
            failures_to_open=self.limits.failures_to_open,
            cooldown_s=self.limits.cooldown_s,
        )

    async def _write_all(self, prompts: Sequence[Prompt], come: SimpleQueue[Any]) -> None:
        async def write(number: int, prompt: Prompt) -> None:
            come.put((number, await self._write_one(prompt, started)))

        started = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            for number, prompt in enumerate(prompts):
                tasks.create_task(write(number, prompt))
                if number % _STARTED_AT_ONCE == 0:
                    # So that the first are sent before the thousandth is begun.
                    await asyncio.sleep(0)

    async def _write_one(self, prompt: Prompt, started: float) -> Completion | GenerationError:
        loop, limits = self._running(), self.limits
        clock = asyncio.get_running_loop().time
        deadline = started + limits.deadline_s
        avoid: Server | None = None
        reasons: list[str] = []
        error: type[GenerationError] = GenerationError
        for attempt in range(limits.max_tries):
            if attempt:
                # Full jitter, so that those who failed together do not come back together.
                pause = random.uniform(0.0, min(_MAX_BACKOFF_S, _BACKOFF_S * 2**attempt))
                await asyncio.sleep(min(pause, max(deadline - clock(), 0.0)))
            server = await self._pool.acquire(avoid=avoid, deadline=deadline)
            if server is None:
                reasons.append("no server had room")
                error = GenerationError
                break
            try:
                completion = await self._ask(loop, server, prompt, deadline)
            except RequestFailed as failure:
                blame = not (failure.final or failure.of_prompt)
                self._pool.release(server, failure.reason, blame=blame)
                reasons.append(f"{server.url}: {failure}")
                error = PromptRejected if failure.of_prompt else GenerationError
                if failure.final:
                    break
                avoid = server
            except BaseException:
                self._pool.release(server, "cancelled", blame=False)
                raise
            else:
                self._pool.release(server, None)
                return replace(completion, calls=attempt + 1)
        return error(
            f"no text after {len(reasons)} tries in {clock() - started:.1f} s; the last: "
            f"{reasons[-1]}"
        )

    async def _ask(
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
            # Some servers keep seeds in 32 bits.
            "seed": prompt.seed & 0x7FFFFFFF,
            **self.extra,
        }
        if sampling.frequency_penalty:  # some servers know no penalty, not even one of 0
            body.setdefault("frequency_penalty", sampling.frequency_penalty)
        remaining = deadline - asyncio.get_running_loop().time()
        timeout = max(min(self.limits.read_timeout_s, remaining), 0.001)
        answer = await loop.request("POST", f"{server.url}/chat/completions", timeout, body)
        return _as_completion(answer)

    async def _only_model(self, loop: HTTPLoop, server: Server) -> str:
        models = await self._models(loop, server)
        if len(models) != 1:
            raise RequestFailed(
                "model", f"the server has the models {models}; say which one with model=", True
            )
        return models[0]

    async def _models(self, loop: HTTPLoop, server: Server) -> list[str]:
        answer = await loop.request("GET", f"{server.url}/models", self.limits.read_timeout_s, None)
        rows = answer.get("data")
        if not isinstance(rows, list):
            raise RequestFailed("garbage", f"expected a list of models, got {excerpt(answer)}")
        return [str(row.get("id")) for row in rows if isinstance(row, dict)]

    async def _check_all(self) -> list[dict[str, Any]]:
        loop = self._running()

        async def check(server: Server) -> dict[str, Any]:
            try:
                return {"url": server.url, "models": await self._models(loop, server)}
            except RequestFailed as error:
                return {"url": server.url, "error": str(error)}

        return await asyncio.gather(*map(check, self._pool.servers))


def _as_completion(answer: dict[str, Any]) -> Completion:
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        cut = choice.get("finish_reason") == "length"
    except (KeyError, IndexError, TypeError, AttributeError):
        text = 0
        cut = False
    # A model that thinks until its last token leaves null as its content.
    blank = text is None or (isinstance(text, str) and not text.strip())
    if blank or not isinstance(text, str):
        raise RequestFailed(
            "blank" if blank else "garbage",
            f"expected a text in choices[0].message.content, got {excerpt(answer)}",
        )
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    tokens = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt_tokens, completion_tokens = (n if isinstance(n, int) and n >= 0 else 0 for n in tokens)
    return Completion(text, prompt_tokens, completion_tokens, cut)
