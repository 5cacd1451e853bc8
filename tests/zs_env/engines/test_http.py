"""The client of /retrieve against servers that fail, stall, cut answers off or redirect."""

import asyncio
import json
import socket
import threading
import time

import pytest
from aiohttp import web

from tests.zs_env.loopback import Loopback
from zs_env.engines import HTTPEngine
from zs_env.engines.http import TOKEN_VARIABLE
from zs_env.search.deadline import deadline_of, time_left_s
from zs_env.search.engine import search_checked
from zs_env.search.types import SearchError, SearchRequest

PAGE = {"result": [[{"document": {"contents": "T\ntext"}, "score": 1.0}]]}


def request(query="q"):
    return SearchRequest(query, None, None, (True,), 1)


def served(handler):
    application = web.Application(client_max_size=2**24)
    application.router.add_route("*", "/{path:.*}", handler)
    return Loopback(application)


def test_a_redirect_is_not_followed_and_the_token_stays_here(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "secret-token")
    seen = []

    async def elsewhere(asked):
        seen.append(asked.headers.get("Authorization"))
        return web.json_response(PAGE)

    with served(elsewhere) as other:

        async def redirect(asked):
            raise web.HTTPFound(f"{other.address}/retrieve")

        with served(redirect) as server, pytest.raises(SearchError, match="status 302"):
            HTTPEngine(f"{server.address}/retrieve", max_tries=1).search([request()])
    assert seen == []


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
        b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"result"',
        b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
        b"no HTTP at all\r\n\r\n",
        b"",
    ],
)
def test_a_broken_answer_is_asked_for_again_and_then_an_error(raw):
    asked = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            nonlocal asked
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    asked += 1
                    connection.sendall(raw)

        threading.Thread(target=serve, daemon=True).start()
        engine = HTTPEngine(f"http://127.0.0.1:{listener.getsockname()[1]}/retrieve", max_tries=2)
        with pytest.raises(SearchError, match="gave no page"):
            engine.search([request()])
        listener.shutdown(socket.SHUT_RDWR)
    assert asked == 2


def test_an_answer_that_trickles_in_is_not_waited_for():
    over = threading.Event()

    async def trickle(asked):
        response = web.StreamResponse()
        await response.prepare(asked)
        while not over.is_set():
            await response.write(b" ")
            time.sleep(0.02)
        return response

    with served(trickle) as server:
        engine = HTTPEngine(f"{server.address}/retrieve", timeout_s=0.2, max_tries=1)
        with pytest.raises(SearchError, match=r"came in time|timed out"):
            engine.search([request()])
        over.set()


def test_a_token_that_a_server_quotes_is_not_cut_into_an_error(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "secret-token")

    async def quote(asked):
        return web.Response(status=400, text="x" * 190 + asked.headers["Authorization"])

    with served(quote) as server, pytest.raises(SearchError) as caught:
        HTTPEngine(f"{server.address}/retrieve").search([request()])
    assert "secret" not in str(caught.value)


def test_white_space_around_a_token_is_left_out(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "secret-token\r")  # from a file with CRLF
    seen = []

    async def answer(asked):
        seen.append(asked.headers["Authorization"])
        return web.json_response(PAGE)

    with served(answer) as server:
        HTTPEngine(f"{server.address}/retrieve").search([request()])
    assert seen == ["Bearer secret-token"]


@pytest.mark.parametrize("token", ["secret\rtoken", "secret\u20ac"])
def test_a_token_that_cannot_be_sent_is_not_in_the_error(token, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    with pytest.raises(SearchError, match=TOKEN_VARIABLE) as caught:
        HTTPEngine("http://127.0.0.1:9/retrieve").search([request()])
    assert "secret" not in str(caught.value)


def test_many_queries_are_several_requests_and_each_is_one_call():
    sizes = []

    async def answer(asked):
        queries = json.loads(await asked.read())["queries"]
        sizes.append(len(queries))
        return web.json_response({"result": PAGE["result"] * len(queries)})

    with served(answer) as server:
        engine = HTTPEngine(f"{server.address}/retrieve")
        pages = engine.search([request(str(n % 600)) for n in range(1200)])
    assert sizes == [512, 88]
    assert sum(page.cost.calls for page in pages) == 2


@pytest.mark.parametrize("url", ["http://me:secret@host/retrieve", "host:8000", "ftp://host/a"])
def test_an_address_with_credentials_or_without_a_scheme_is_refused(url):
    with pytest.raises(ValueError, match="expected http://HOST:PORT/retrieve") as caught:
        HTTPEngine(url)
    assert "secret" not in str(caught.value)


def _break(how):
    """Return a handler that answers every query but "bad", and breaks on that one."""

    async def retrieve(asked):
        queries = json.loads(await asked.read())["queries"]
        if "bad" not in queries:
            return web.json_response({"result": PAGE["result"] * len(queries)})
        if how == "cut off":
            asked.transport.abort()
        if how == "hang":
            await asyncio.sleep(5)
        if how == "null":
            return web.json_response({"result": None})
        if how == "null page":
            rows = [None if query == "bad" else PAGE["result"][0] for query in queries]
            return web.json_response({"result": rows})
        raise STATUS.get(how, web.HTTPBadGateway)()

    return retrieve


STATUS = {"500": web.HTTPInternalServerError, "422": web.HTTPUnprocessableEntity}


@pytest.mark.parametrize("how", ["500", "422", "null", "null page", "cut off", "hang"])
def test_one_query_that_a_server_cannot_answer_fails_alone(how, monkeypatch):
    monkeypatch.setattr("zs_env.engines.http._BACKOFF_S", 0.001)
    queries = [*map(str, range(8)), "bad", *map(str, range(8, 12))]
    with served(_break(how)) as server:
        engine = HTTPEngine(f"{server.address}/retrieve", timeout_s=0.3)
        with deadline_of(30.0):
            pages = engine.search([request(query) for query in queries])
        alone = [search_checked(engine, [request(query)])[0] for query in ("0", "bad")]
    failed = [
        query for query, page in zip(queries, pages, strict=True) if isinstance(page, SearchError)
    ]
    assert failed == ["bad"]
    assert alone[0] == pages[0] and isinstance(alone[1], SearchError)


def test_without_a_connection_each_query_fails_and_none_is_tried_alone(monkeypatch):
    monkeypatch.setattr("zs_env.engines.http._BACKOFF_S", 0.001)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    engine, tries = HTTPEngine(f"http://127.0.0.1:{port}/retrieve", max_tries=2), []
    send = engine._send
    monkeypatch.setattr(engine, "_send", lambda *rest: tries.append(1) or send(*rest))
    pages = engine.search([request(str(n)) for n in range(20)])
    assert all("no connection" in str(page) for page in pages) and len(pages) == 20
    assert len(tries) == 2


def test_tries_end_before_the_deadline():
    async def stall(asked):
        await asyncio.sleep(5)

    with served(stall) as server, deadline_of(0.4):
        engine = HTTPEngine(f"{server.address}/retrieve", max_tries=100)
        with pytest.raises(SearchError, match="gave no page"):
            engine.search([request()])
        assert time_left_s() > 0.0
