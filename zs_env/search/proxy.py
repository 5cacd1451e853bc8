"""The HTTP proxy of a request: the same rule for every client.

The environment variables http_proxy, https_proxy and no_proxy apply, except to loopback addresses,
which a proxy cannot reach.
"""

from __future__ import annotations

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
