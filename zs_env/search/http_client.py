"""JSON over HTTP to model servers, many requests at a time.

An event loop in a daemon thread holds the connections. It uses aiohttp, which keeps up with servers
that answer a thousand short requests a second. The bearer token is read from an environment
variable when a request is sent, and is not stored.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from zs_env.search.proxy import proxy_of, through_proxy
from zs_env.search.retry import RequestFailed, is_final

if TYPE_CHECKING:
    import aiohttp

API_KEY_VARIABLE = "ZEROSEARCH_API_KEY"
_MAX_BODY = 16 * 2**20  # a chat answer has some kilobytes
_EXCERPT = 300


class HTTPLoop:
    """An event loop in a daemon thread, with its connections.

    Args:
        connect_timeout_s: seconds to open a connection.

    Attributes:
        submit: runs a coroutine in the loop and returns its `concurrent.futures.Future`.
        pid: the process of the thread; a forked child has the object but not the thread.
    """

    def __init__(self, *, connect_timeout_s: float) -> None:
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self.submit = partial(asyncio.run_coroutine_threadsafe, loop=self._loop)
        self._session: aiohttp.ClientSession | None = None
        self._connect_timeout_s = connect_timeout_s
        self._thread = threading.Thread(target=self._run, name="zs_env http", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the connections and end the thread."""
        if self._loop.is_closed() or self.pid != os.getpid():
            return

        async def close() -> None:
            if self._session is not None:
                await self._session.close()
            self._loop.stop()

        self.submit(close())
        # A finalizer may run in the thread of the loop.
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    async def request(
        self,
        method: str,
        url: str,
        timeout_s: float,
        body: dict[str, Any] | None = None,
        *,
        parse: bool = True,
    ) -> dict[str, Any]:
        """Return a server's answer, a JSON object; without `parse`, ignore its text.

        Raises:
            RequestFailed: if the server does not answer, or with anything else.
        """
        import aiohttp

        if self._session is None:
            # The callers bound the number of requests; a second bound would only hide theirs.
            connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=300)
            self._session = aiohttp.ClientSession(connector=connector)
        key = read_secret(API_KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = aiohttp.ClientTimeout(
            total=timeout_s, sock_connect=min(self._connect_timeout_s, timeout_s)
        )
        try:
            async with self._session.request(
                method,
                url,
                json=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                **_proxy_settings(url),
            ) as response:
                raw = await response.content.read(_MAX_BODY + 1)
                while len(raw) <= _MAX_BODY and (more := await response.content.read(_MAX_BODY)):
                    raw += more
                status = response.status
        except TimeoutError:
            reason = f"no answer within {timeout_s:.1f} s{through_proxy(url)}"
            raise RequestFailed("timeout", reason) from None
        except (aiohttp.ClientError, OSError) as error:
            number = getattr(error, "errno", None)  # the text of aiohttp does not name the cause
            cause = f": {os.strerror(number)}" if number else ""
            reason = f"{type(error).__name__}: {error}{cause}{through_proxy(url)}"
            raise RequestFailed("connection", _redacted(reason)) from None
        except ValueError:  # a header with a control character
            reason = f"it cannot be sent; check the URL and {API_KEY_VARIABLE}"
            raise RequestFailed("request", reason, True) from None
        text = raw.decode("utf-8", "replace")
        if status != 200:
            reason = f"status {status}{through_proxy(url)}"
            raise RequestFailed(reason, _redacted(text)[:_EXCERPT], is_final(status))
        if not parse:
            return {}
        try:
            answer = json.loads(text) if len(raw) <= _MAX_BODY else None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise RequestFailed("garbage", f"expected a JSON object, got {excerpt(text)}")
        return answer


def read_secret(variable: str) -> str:
    """Return a key or token from an environment variable, without white space around it.

    A file with CRLF may have added a carriage return. Without the variable it is "".
    """
    return os.environ.get(variable, "").strip()


def _proxy_settings(url: str) -> dict[str, Any]:
    """Return the arguments of a request for its proxy; {} if it is sent directly."""
    from yarl import URL

    proxy = proxy_of(url)
    if proxy is None:
        return {}
    parsed = URL(proxy)
    if parsed.user is None:
        return {"proxy": parsed}
    login = b64encode(f"{parsed.user}:{parsed.password or ''}".encode()).decode()
    headers = {"Proxy-Authorization": f"Basic {login}"}
    return {"proxy": parsed.with_user(None), "proxy_headers": headers}


def excerpt(answer: object) -> str:
    """Return the beginning of an answer, without the key, for an error message."""
    return _redacted(repr(answer))[:_EXCERPT]


def _redacted(text: str) -> str:
    """Remove the key, which a server may quote."""
    key = read_secret(API_KEY_VARIABLE)
    return text.replace(key, "[key]") if key else text


def base_url(url: str) -> str:
    """Return a server's URL with the version of its API; without a path, /v1 is added."""
    match = re.fullmatch(r"(https?://[^/\s@?#]+)(/[^\s?#]*)?", url.strip())
    if match is None:
        raise ValueError(
            f"got the server {url!r}, expected a URL such as http://127.0.0.1:8000/v1 without "
            f"credentials; set the environment variable {API_KEY_VARIABLE} to pass a key"
        )
    host, path = match.groups()
    return host + ((path or "").rstrip("/") or "/v1")


def base_urls(servers: Any) -> list[str]:
    """Return the URLs of one server or of several.

    Raises:
        ValueError: if there is none, or one is no http(s) URL.
    """
    listed = [servers] if isinstance(servers, str) else servers
    if not isinstance(listed, Sequence) or not all(isinstance(url, str) for url in listed):
        raise ValueError(
            f"got servers={servers!r}, expected a URL such as http://127.0.0.1:8000/v1, or a list "
            "of URLs"
        )
    if not listed:
        raise ValueError("got no server; give the base URL of at least one")
    return [base_url(url) for url in listed]


def import_aiohttp() -> Any:
    """Return the module aiohttp."""
    try:
        import aiohttp
    except ImportError as error:
        raise ImportError(
            'model servers need aiohttp; pip install "zerosearch-gym[simulator]"'
        ) from error
    return aiohttp
