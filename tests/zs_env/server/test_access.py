"""Who may use a server: tokens, addresses, web pages, content types, and limits."""

import json
import urllib.error
import urllib.request

import msgpack
import pytest

from tests.zs_env.loopback import Loopback
from zs_env.engines import ScriptedEngine
from zs_env.search.proxy import is_loopback
from zs_env.search.types import Document
from zs_env.server.app import SearchServer
from zs_env.server.run import bind
from zs_env.server.settings import ServerSettings

QUERY = b'{"query": "a"}'
JSON = {"Content-Type": "application/json"}


def status(method, path, body=None, headers=None, **settings):
    """Send one request to a new server; return the status and the text of the answer."""
    engine = ScriptedEngine(lambda _: [Document("bad \ud800 text")], supports_noise=True)
    server = SearchServer(engine, settings=ServerSettings(**settings))
    with Loopback(server.application()) as served:
        headers = {
            name: value.replace("PORT", str(served.port)) for name, value in (headers or {}).items()
        }
        return answer(served.address + path, method, body, headers)


def answer(url, method, body, headers):
    request = urllib.request.Request(url, body, headers, method=method)
    if "Content-Type" not in headers:
        request.add_unredirected_header("Content-Type", "")
    try:
        with urllib.request.urlopen(request, timeout=10) as found:
            return found.status, found.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", QUERY, 200),
        ("application/json; charset=UTF-8", QUERY, 200),
        ("application/json; charset=utf-8-sig", b"\xef\xbb\xbf" + QUERY, 200),
        ("Application/JSON;charset=ascii", QUERY, 200),
        ("application/msgpack", msgpack.packb({"query": "a"}), 200),
        ("application/x-msgpack", msgpack.packb({"query": "a"}), 200),
        ("application/json; charset=zz", QUERY, 400),
        ("application/json; charset=utf-16", QUERY, 400),
        ("application/json", b'{"query": "\xff"}', 400),
        ("application/json", b'{"query": "\\ud800"}', 400),
        ("application/msgpack", QUERY, 400),
        ("text/plain", QUERY, 415),
        ("application/x-www-form-urlencoded", QUERY, 415),
        ("application/octet-stream", msgpack.packb({"query": "a"}), 415),
    ],
)
def test_a_body_is_json_in_utf_8_or_msgpack(content_type, body, expected):
    headers = {"Content-Type": content_type}
    assert status("POST", "/retrieve", body, headers)[0] == expected
    if "msgpack" not in content_type and b"query" in body:
        body = body.replace(b'"query"', b'"probability"').replace(b'"a"', b"1")
        assert status("PUT", "/noise", body, headers, no_auth=True)[0] == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:PORT", 200),
        ("http://evil.example", 403),
        ("http://evil.example:PORT", 403),
        ("http://127.0.0.1", 403),  # another port is another origin
        ("http://localhost:PORT", 403),  # not the address that was asked
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
@pytest.mark.parametrize("token", [None, "secret"])
def test_a_foreign_origin_is_refused(origin, expected, token):
    headers = {**JSON, "Origin": origin, "Authorization": "Bearer secret"}
    assert status("POST", "/retrieve", QUERY, headers, token=token)[0] == expected


def test_an_own_origin_with_a_foreign_name_is_refused():
    # A name of another site may be resolved to this machine.
    headers = {**JSON, "Origin": "http://evil.example:PORT", "Host": "evil.example:PORT"}
    assert status("POST", "/retrieve", QUERY, headers)[0] == 403


def test_the_noise_is_set_with_a_token_or_with_no_auth():
    body = b'{"probability": 0.5}'
    code, text = status("PUT", "/noise", body, JSON)
    assert code == 403 and "ZEROSEARCH_SERVE_TOKEN" in text and "--no-auth" in text
    assert status("PUT", "/noise", body, JSON, no_auth=True)[0] == 200
    authorized = {**JSON, "Authorization": "Bearer secret"}
    assert status("PUT", "/noise", body, authorized, token="secret")[0] == 200
    assert status("PUT", "/noise", body, JSON, token="secret")[0] == 401
    assert status("PUT", "/noise", body, JSON, token="secret", no_auth=True)[0] == 401
    assert status("GET", "/noise")[0] == 200


@pytest.mark.parametrize(
    "body", [{}, [], True, "0.5", None, float("nan"), float("inf"), 10**400, -0.1, "\ud800"]
)
def test_another_noise_probability_is_refused(body):
    code, _ = status(
        "PUT", "/noise", json.dumps({"probability": body}).encode(), JSON, no_auth=True
    )
    assert code == 400


def test_limits_count_queries_and_documents():
    def retrieve(count, topk=1, **settings):
        body = json.dumps({"queries": ["a"] * count, "topk": topk}).encode()
        return status("POST", "/retrieve", body, JSON, **settings)

    assert retrieve(5, queries_per_second=5)[0] == 200
    code, text = retrieve(6, queries_per_second=5)
    assert code == 429 and "a request may have at most 5" in text
    assert retrieve(4, 25, max_documents=100)[0] == 200
    code, text = retrieve(4, 26, max_documents=100)
    assert code == 400 and "at most 100 documents in an answer, got 4 queries with topk 26" in text
    assert retrieve(5, max_waiting=4)[0] == 503


def test_a_lone_surrogate_in_a_page_is_replaced():
    _, text = status("POST", "/retrieve", QUERY, JSON)
    contents = json.loads(text)["result"][0][0]["document"]["contents"]
    assert contents == "\nbad \ufffd text"
    headers = {"Content-Type": "application/msgpack"}
    assert status("POST", "/retrieve", msgpack.packb({"query": "a"}), headers)[0] == 200


@pytest.mark.parametrize("settings", [{"token": "secret"}, {"no_auth": True}])
def test_an_address_that_others_reach_needs_a_token_or_no_auth(settings):
    with pytest.raises(ValueError, match=r"ZEROSEARCH_SERVE_TOKEN .* --no-auth"):
        bind("0.0.0.0", 0, ServerSettings())
    for one in bind("0.0.0.0", 0, ServerSettings(**settings)):
        one.close()


def test_a_port_in_use_is_an_error():
    (first,) = bind("127.0.0.1", 0, ServerSettings())
    with first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot bind 127.0.0.1, port {port}: .*--port"):
            bind("127.0.0.1", port, ServerSettings())


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.3.4.5", "::1", "localhost")],
        *[(host, True) for host in ("::ffff:127.0.0.1", "LOCALHOST")],
        *[(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "fe80::1%eth0")],
    ],
)
def test_loopback_addresses(host, expected):
    assert is_loopback(host) is expected
