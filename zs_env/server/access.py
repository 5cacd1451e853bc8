"""Which HTTP requests a server accepts: bearer token, origin and content type."""

from __future__ import annotations

import codecs
import hmac
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from zs_env.search.proxy import is_loopback
from zs_env.server.schemas import JSON, MSGPACK, TOKEN_VARIABLE, InvalidBody

_MSGPACK_TYPES = {MSGPACK, "application/x-msgpack", "application/vnd.msgpack"}
_UTF8_NAMES = {"utf-8", "utf-8-sig", "ascii"}
_ADVICE = (
    f"set the environment variable {TOKEN_VARIABLE} where the server starts, or pass --no-auth"
)


def refusal(kind: type[web.HTTPException], text: str, **headers: str) -> web.HTTPException:
    """Return an HTTP error; characters that UTF-8 cannot encode are escaped."""
    escaped = text.encode("utf-8", "backslashreplace").decode()
    return kind(text=escaped, headers=headers)


def check_access(request: web.Request, token: str | None, *, no_auth: bool) -> None:
    """Refuse a request that is not allowed.

    A browser sends the header Origin with every request that a page of another site makes. Only
    the server's own address is accepted there, as an IP address or as localhost, because a name of
    another site may resolve to this machine.

    Args:
        request: the request.
        token: bearer token that requests must have; None for no token.
        no_auth: whether clients without a token may set the noise and use addresses that other
            machines reach.

    Raises:
        HTTPForbidden: if the origin is foreign, or the server needs a token and has none.
        HTTPUnauthorized: if the token is missing or wrong.
    """
    for origin in request.headers.getall("Origin", ()):
        if not _is_own_origin(origin, request.headers.get("Host", "")):
            raise refusal(
                web.HTTPForbidden, f"requests of web pages are refused, got Origin {origin!r}"
            )
    if request.path == "/health":
        return
    if token is None:
        if no_auth:
            return
        if not _is_local(request):
            raise refusal(web.HTTPForbidden, f"this address needs a token; {_ADVICE}")
        if request.method == "PUT":
            raise refusal(web.HTTPForbidden, f"PUT {request.path} needs a token; {_ADVICE}")
        return
    given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(given, f"Bearer {token}".encode()):
        raise refusal(web.HTTPUnauthorized, "expected the header 'Authorization: Bearer TOKEN'")


def is_msgpack(request: web.Request) -> bool:
    """Return whether the body is msgpack, not JSON.

    A request without a content type is read as msgpack: the client of gem sends none.

    Raises:
        HTTPUnsupportedMediaType: if the content type is neither of the two.
        InvalidBody: if the charset is not UTF-8.
    """
    if "Content-Type" not in request.headers or request.content_type in _MSGPACK_TYPES:
        return True
    if request.content_type != JSON:
        raise refusal(
            web.HTTPUnsupportedMediaType,
            f"expected the content type {JSON} or {MSGPACK}, got {request.content_type!r}",
        )
    charset = request.charset
    try:
        known = charset is None or codecs.lookup(charset).name in _UTF8_NAMES
    except (LookupError, ValueError):
        known = False
    if not known:
        raise InvalidBody(f"expected JSON in UTF-8, got the charset {charset!r}")
    return False


def _is_local(request: web.Request) -> bool:
    """Whether a request came to a loopback address or to a Unix socket."""
    transport = request.transport
    address = None if transport is None else transport.get_extra_info("sockname")
    return not isinstance(address, tuple) or is_loopback(address[0])


def _is_own_origin(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
        name = parts.hostname or ""
        ip_address(name if name != "localhost" else "127.0.0.1")
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
