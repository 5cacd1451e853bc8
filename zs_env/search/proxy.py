"""The HTTP proxy of a request: the same rule for every client.

The environment variables http_proxy, https_proxy and no_proxy apply, except to loopback addresses,
which a proxy cannot reach.
"""

from __future__ import annotations

import socket
import urllib.request
from ipaddress import ip_address
from urllib.parse import urlsplit


def proxy_of(url: str) -> str | None:
    """Return the URL of the proxy for a request; None if it is sent directly."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    return proxy if "//" in proxy else f"http://{proxy}"


def through_proxy(url: str) -> str:
    """Return " through the proxy ..." for error messages, without credentials; "" if direct."""
    proxy = proxy_of(url)
    if proxy is None:
        return ""
    parts = urlsplit(proxy)
    return f" through the proxy {parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address, given as an IP address or as localhost."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def check_connection(url: str, *, timeout_s: float = 5.0) -> None:
    """Connect to the server of a URL, or to its proxy, and close the connection.

    Raises:
        ConnectionError: if that is impossible.
    """
    parts = urlsplit(proxy_of(url) or url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=timeout_s).close()
    except OSError as error:
        raise ConnectionError(
            f"no connection to {url}{through_proxy(url)}: {error}; start the server, or correct "
            "its address"
        ) from None
