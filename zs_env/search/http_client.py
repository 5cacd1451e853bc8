"""JSON over HTTP to servers of models, many requests at a time.

An event loop in a daemon thread holds the connections. aiohttp carries them, because a client has
to keep up with servers that answer a thousand short requests a second. The bearer token comes from
an environment variable, is read when requests are made, and is kept nowhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiohttp

API_KEY_VARIABLE = "ZEROSEARCH_API_KEY"
_MAX_BODY = 16 * 2**20  # a chat answer is some kilobytes
_EXCERPT = 300
# The server says that it could answer later; every other 4xx is about the request itself.
_TRY_AGAIN = frozenset({408, 409, 425, 429})
# How servers refuse a prompt, and not the request as a whole.
_REFUSED_PROMPT = re.compile(
    r"context|too long|too many tokens|max\w*[ _-](model[ _-])?len|content.?(policy|filter)", re.I
)


class RequestFailed(Exception):
    """A request that brought no text.

    Attributes:
        reason: in a word, to be counted.
        final: whether to ask again is of no use.
    """

    def __init__(self, reason: str, detail: str = "", final: bool = False) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.final = reason, final

    @property
    def of_prompt(self) -> bool:
        """Whether it lies with what was to be written: too long, refused, answered by nothing."""
        if self.reason in ("status 400", "status 422"):
            return _REFUSED_PROMPT.search(str(self)) is not None
        return self.reason in ("status 413", "blank")


class HTTPLoop:
    """An event loop in a daemon thread, with the connections that live in it.

    Args:
        connect_timeout_s: until a connection stands.

    Attributes:
        pid: the process that the thread lives in; a forked child has the object but not the thread.
    """

    def __init__(self, *, connect_timeout_s: float) -> None:
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._session: aiohttp.ClientSession | None = None
        self._connect_timeout_s = connect_timeout_s
        self._thread = threading.Thread(target=self._run, name="zs_env http", daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine in the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def stop(self) -> None:
        """Close the connections and let the thread end."""
        if self._loop.is_closed() or self.pid != os.getpid():
            return

        async def close() -> None:
            if self._session is not None:
                await self._session.close()
            self._loop.stop()

        asyncio.run_coroutine_threadsafe(close(), self._loop)
        # Whoever was the last to need it may have ended in the loop's own thread.
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    async def request(
        self, method: str, url: str, timeout_s: float, body: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Return the JSON object that a server answers.

        Raises:
            RequestFailed: if it answers nothing of the kind.
        """
        text = await self._exchange(method, url, timeout_s, body)
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise RequestFailed("garbage", f"expected a JSON object, got {excerpt(text)}")
        return answer

    async def post(self, url: str, timeout_s: float, body: dict[str, Any] | None = None) -> None:
        """Post to a server, whose answer may be anything.

        Raises:
            RequestFailed: if it does not answer, or with a status other than 200.
        """
        await self._exchange("POST", url, timeout_s, body)

    async def _exchange(
        self, method: str, url: str, timeout_s: float, body: dict[str, Any] | None
    ) -> str:
        aiohttp = import_aiohttp()
        session = self._open_session()
        key = os.environ.get(API_KEY_VARIABLE, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = aiohttp.ClientTimeout(
            total=timeout_s, sock_connect=min(self._connect_timeout_s, timeout_s)
        )
        try:
            async with session.request(
                method, url, json=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                raw = await response.content.read(_MAX_BODY + 1)
                while len(raw) <= _MAX_BODY and (more := await response.content.read(_MAX_BODY)):
                    raw += more
                status = response.status
        except TimeoutError:
            raise RequestFailed("timeout", f"no answer within {timeout_s:.1f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise RequestFailed(
                "connection", _redacted(f"{type(error).__name__}: {error}")
            ) from None
        text = raw.decode("utf-8", "replace")
        if status != 200:
            final = 300 <= status < 500 and status not in _TRY_AGAIN
            raise RequestFailed(f"status {status}", _redacted(text)[:_EXCERPT], final)
        if len(raw) > _MAX_BODY:
            raise RequestFailed("garbage", f"expected a JSON object, got {excerpt(text)}")
        return text

    def _open_session(self) -> aiohttp.ClientSession:
        session = self._session
        if session is None:
            aiohttp = import_aiohttp()
            # Whoever asks bounds what is under way; a second bound would only hide it.
            connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=300)
            session = self._session = aiohttp.ClientSession(connector=connector)
        return session


def excerpt(answer: object) -> str:
    """The beginning of an answer as an error quotes it, without the key."""
    return _redacted(repr(answer))[:_EXCERPT]


def _redacted(text: str) -> str:
    """A server may quote the key that it was sent."""
    key = os.environ.get(API_KEY_VARIABLE, "")
    return text.replace(key, "[key]") if key else text


def base_url(url: str) -> str:
    """Return a server's URL up to the version of its API, which is /v1 unless it names one.

    Raises:
        ValueError: if it is no http(s) URL, or holds credentials, a query or a fragment.
    """
    match = re.fullmatch(r"(https?://[^/\s@?#]+)(/[^\s?#]*)?", url.strip())
    if match is None:
        raise ValueError(
            f"got the server {url!r}, expected a URL such as http://127.0.0.1:8000/v1, without "
            f"credentials in it (a key goes into the variable {API_KEY_VARIABLE})"
        )
    host, path = match.groups()
    return host + ((path or "").rstrip("/") or "/v1")


def import_aiohttp() -> Any:
    """Return the module aiohttp.

    Raises:
        ImportError: if it is missing, with what to install.
    """
    try:
        import aiohttp
    except ImportError as error:
        raise ImportError(
            'servers of models need aiohttp; pip install "zerosearch-gym[simulator]"'
        ) from error
    return aiohttp
