"""Proxies of the environment: the same for every client, never for loopback, named in errors."""

import pytest
from aiohttp import web

from tests.zs_env.loopback import Loopback
from zs_env.engines import HTTPEngine, ScriptedEngine
from zs_env.search.http_client import HTTPLoop
from zs_env.search.proxy import proxy_of, through_proxy
from zs_env.search.retry import RequestFailed
from zs_env.search.types import Document, SearchError, SearchRequest
from zs_env.server.app import SearchServer

REQUEST = SearchRequest("a", None, None, (True,), 1)
HOST = "retriever.example"


@pytest.fixture
def proxy(monkeypatch):
    """A proxy that refuses everything; the URLs that it was asked for."""
    asked = []

    async def refuse(request):
        asked.append(str(request.raw_path))
        return web.Response(status=403, text="ERR_CONNECT_FAIL")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", refuse)
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Loopback(application) as served:
        monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{served.port}")
        yield served.port, asked


def chat(url):
    loop = HTTPLoop(connect_timeout_s=5.0)
    try:
        return loop.submit(loop.request("POST", url, 5.0, {})).result(10)
    finally:
        loop.stop()


def test_loopback_is_direct_for_every_client(proxy):
    server = SearchServer(ScriptedEngine({}, default=[Document("text")]))
    with Loopback(server.application()) as served:
        for host in ("127.0.0.1", "localhost"):
            url = f"http://{host}:{served.port}"
            (page,) = HTTPEngine(f"{url}/retrieve").search([REQUEST])
            assert page.documents[0].text == "text"
            with pytest.raises(RequestFailed, match=r"^status 400: "):
                chat(f"{url}/retrieve")
    assert proxy[1] == []


def test_other_hosts_are_asked_through_the_proxy_which_is_named_without_credentials(proxy):
    port, asked = proxy
    shown = f"status 403 through the proxy http://127.0.0.1:{port}: ERR_CONNECT_FAIL"
    with pytest.raises(SearchError, match=shown):
        HTTPEngine(f"http://{HOST}/retrieve").search([REQUEST])
    with pytest.raises(RequestFailed, match=shown):
        chat(f"http://{HOST}/v1")
    assert len(asked) == 2 and all(HOST in one or one.startswith("/") for one in asked)


def test_no_proxy_applies_to_every_client(proxy, monkeypatch):
    monkeypatch.setenv("no_proxy", HOST)
    assert proxy_of(f"http://{HOST}/retrieve") is None
    assert proxy_of("http://other.example/") == f"http://user:secret@127.0.0.1:{proxy[0]}"
    assert proxy_of("http://[::1]:8000/") is None
    assert proxy_of("https://other.example/") is None  # https_proxy is not set
    assert through_proxy(f"http://{HOST}/") == ""
