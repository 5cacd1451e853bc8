"""Clients of other frameworks get our pages and noise, and an error for every failure."""

import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import msgpack
import pytest

from tests.zs_env.loopback import Loopback
from zs_env.engines import BM25Engine, CachedEngine, HTTPEngine
from zs_env.engines.http import TOKEN_VARIABLE
from zs_env.noise import NoiseSchedule
from zs_env.questions.question import Question
from zs_env.search.types import Document, SearchError, SearchPage, SearchRequest
from zs_env.server.app import SearchServer
from zs_env.server.settings import ServerSettings


class Engine:
    """Returns documents that repeat the request."""

    name = fingerprint = "engine"
    supports_noise = True

    def __init__(self):
        self.batches = []
        self.failure = None

    def search(self, requests):
        self.batches.append(list(requests))
        if self.failure is not None:
            raise self.failure
        return [
            SearchPage(
                tuple(
                    Document(f"{request.query} {'useful' if flag else 'noisy'} {request.answers}")
                    for flag in request.useful
                )
            )
            for request in requests
        ]


@pytest.fixture
def engine():
    return Engine()


def serve(engine, **settings):
    settings.setdefault("no_auth", settings.get("token") is None)
    limits = {name: settings.pop(name) for name in list(settings) if name not in SERVER}
    server = SearchServer(engine, settings=ServerSettings(**limits), **settings)
    return Loopback(server.application())


SERVER = ("noise", "noise_kinds", "questions")
MSGPACK = {"Content-Type": "application/msgpack"}


def send(server, path, body=None, *, method=None, headers=None):
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | (headers or {})
    request = urllib.request.Request(server.address + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def retrieve(server, **body):
    return json.loads(send(server, "/retrieve", body))["result"]


def test_json_and_msgpack_requests_are_answered(engine):
    with serve(engine) as server:
        (page,) = retrieve(server, query="who", topk=2)
        body = send(
            server, "/retrieve", msgpack.packb({"query": "who", "topk": 2}), headers=MSGPACK
        )
    contents = [row["document"]["contents"] for row in page]
    assert contents == ["\nwho useful None"] * 2
    flat = msgpack.unpackb(body)["result"]
    assert [row["document"]["contents"] for row in flat] == contents


def test_our_client_uses_our_server(engine):
    requests = [
        SearchRequest(f"q{n % 7}", "Q?", ("x",), (False,) * (1 + n % 2), n) for n in range(30)
    ]
    with serve(engine) as server:
        client = HTTPEngine(f"{server.address}/retrieve")
        pages = client.search(requests)
    for request, page in zip(requests, pages, strict=True):
        assert [d.text for d in page.documents] == [f"{request.query} useful None"] * len(
            request.useful
        )
    assert sum(map(len, engine.batches)) == 14, "every query is sent once for each size"


def test_equal_queries_are_one_call_of_a_cached_engine(engine):
    with serve(CachedEngine(engine), noise=0.5) as server:
        first = [retrieve(server, query=query) for query in ("one", "two")]
        for _ in range(4):
            assert [retrieve(server, query=query) for query in ("one", "two")] == first
    assert sum(map(len, engine.batches)) == 2


def test_the_query_determines_the_kind_of_its_noise(engine):
    engine.noise_kinds = ("misleading", "empty")
    with serve(engine, noise=1.0, noise_kinds={"misleading": 3, "empty": 1}) as server:
        retrieve(server, queries=[f"q{n}" for n in range(400)], topk=1)
        retrieve(server, queries=[f"q{n}" for n in range(400)], topk=1)
        shown = send(server, "/metrics").decode()
    kinds = {(one.query, one.noise_kind) for batch in engine.batches for one in batch}
    assert len(kinds) == 400
    misleading = sum(kind == "misleading" for _, kind in kinds)
    assert abs(misleading - 300) < 5 * (400 * 0.75 * 0.25) ** 0.5
    assert "zerosearch_noisy_searches_total 800.0" in shown
    with pytest.raises(ValueError, match="injected"):
        SearchServer(engine, noise=0.5, noise_kinds="injected")


def test_noise_depends_on_the_query_and_has_the_given_probability(engine):
    with serve(engine, noise=0.25) as server:
        results = retrieve(server, queries=[f"q{n}" for n in range(400)], topk=1)
        noisy = ["noisy" in page[0]["document"]["contents"] for page in results]
        assert 65 <= sum(noisy) <= 135  # 100 ± 4 standard deviations
        send(server, "/noise", {"probability": 1.0}, method="PUT")
        (page,) = retrieve(server, query="q0", topk=1)
        assert "noisy" in page[0]["document"]["contents"]
        assert json.loads(send(server, "/noise")) == {"probability": 1.0, "searches": 401}


def test_a_schedule_counts_searches(engine):
    noise = NoiseSchedule(0.0, 1.0, total_steps=10)
    with serve(engine, noise=noise) as server:
        assert json.loads(send(server, "/noise"))["probability"] == 0.0
        retrieve(server, queries=["a"] * 10)
        assert json.loads(send(server, "/noise"))["probability"] == 1.0


@pytest.mark.parametrize("body", [{"probability": 2}, {"probability": "x"}, {}, 3, b"{"])
def test_an_invalid_noise_probability_is_refused(engine, body):
    with serve(engine, noise=0.5) as server:
        with pytest.raises(urllib.error.HTTPError) as error:
            send(server, "/noise", body, method="PUT")
        assert error.value.code == 400
        error.value.close()
        assert json.loads(send(server, "/noise"))["probability"] == 0.5


def test_a_question_id_adds_the_question_to_the_request(engine):
    questions = {"7": Question(id="7", text="Who?", answers=("Ada",))}
    with serve(engine, questions=questions) as server:
        with_id, without = retrieve(server, queries=["a", "a"], question_ids=["7", None], topk=1)
        assert with_id[0]["document"]["contents"] == "\na useful ('Ada',)"
        assert without[0]["document"]["contents"] == "\na useful None"
        with pytest.raises(urllib.error.HTTPError) as error:
            retrieve(server, query="a", question_id="8")
        assert error.value.code == 400 and b"no question has the id '8'" in error.value.read()


def test_waiting_searches_are_one_call(engine):
    entered, leave = threading.Event(), threading.Event()
    search = engine.search

    def slow(requests):
        entered.set()
        leave.wait(5)
        return search(requests)

    engine.search = slow
    with serve(engine, calls_at_once=1) as server, ThreadPoolExecutor(9) as threads:
        first = threads.submit(retrieve, server, query="first")
        entered.wait(5)
        others = [threads.submit(retrieve, server, query=f"q{n}") for n in range(8)]
        while b"zerosearch_waiting 8.0" not in send(server, "/metrics"):
            pass
        leave.set()
        answers = [future.result()[0][0]["document"]["contents"] for future in others]
        first.result()
    assert answers == [f"\nq{n} useful None" for n in range(8)]
    assert [len(batch) for batch in engine.batches] == [1, 8]


@pytest.mark.parametrize(
    "failure", [SearchError("no server"), ValueError("broken"), RuntimeError("x")]
)
def test_a_failure_is_an_error_not_a_page(engine, failure):
    with serve(engine) as server:
        engine.failure = failure
        with pytest.raises(urllib.error.HTTPError) as error:
            retrieve(server, query="a")
        assert error.value.code == 502 and str(failure).encode() in error.value.read()
        engine.failure = None
        assert retrieve(server, query="a")


def test_a_hanging_engine_times_out(engine):
    leave, hangs, answer = threading.Event(), True, engine.search
    engine.search = lambda requests: leave.wait() if hangs else answer(requests)
    try:
        with serve(engine, timeout_s=0.1, calls_at_once=1) as server:
            for query in "ab":
                with pytest.raises(urllib.error.HTTPError) as error:
                    retrieve(server, query=query)
                assert error.value.code == 504
                error.value.close()
        with serve(engine, timeout_s=2.0, calls_at_once=1) as server:
            with pytest.raises(urllib.error.HTTPError) as error:
                retrieve(server, query="c")
            error.value.close()
            hangs = False  # the hanging call still runs and blocks nothing
            assert retrieve(server, query="d")
        # Neither server waited for its hanging calls when it stopped.
        assert not leave.is_set()
    finally:
        leave.set()


def test_every_route_but_health_needs_the_token(engine, monkeypatch):
    with serve(engine, token="secret") as server:
        assert json.loads(send(server, "/health"))["status"] == "ok"
        for path in ("/noise", "/metrics"):
            with pytest.raises(urllib.error.HTTPError) as error:
                send(server, path, headers={"Authorization": "Bearer wrong"})
            assert error.value.code == 401
            error.value.close()
        client = HTTPEngine(f"{server.address}/retrieve")
        request = SearchRequest("a", None, None, (True,), 1)
        monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
        with pytest.raises(SearchError, match="status 401"):
            client.search([request])
        monkeypatch.setenv(TOKEN_VARIABLE, "secret")
        assert client.search([request])[0].documents


def test_large_bodies_and_frequent_requests_are_refused(engine):
    with serve(engine, max_body=100, queries_per_second=2.0) as server:
        with pytest.raises(urllib.error.HTTPError) as error:
            retrieve(server, query="x" * 200)
        assert error.value.code == 413
        error.value.close()
        codes = []
        for _ in range(4):
            try:
                retrieve(server, query="a")
                codes.append(200)
            except urllib.error.HTTPError as error:
                codes.append(error.code)
                error.close()
        assert codes[-1] == 429


def test_empty_and_large_batches_are_answered(engine):
    with serve(engine) as server:
        for queries in ([], [f"a rather long query number {n}" * 9 for n in range(2560)]):
            found = retrieve(server, queries=queries, topk=3, return_scores=True)
            assert len(found) == len(queries)


def test_metrics(engine):
    with serve(engine, noise=1.0) as server:
        retrieve(server, queries=["a", "b"])
        with pytest.raises(urllib.error.HTTPError) as error:
            send(server, "/retrieve", b"{")
        error.value.close()
        shown = send(server, "/metrics").decode()
    assert 'zerosearch_answers_total{status="200"} 1.0' in shown
    assert 'zerosearch_answers_total{status="400"} 1.0' in shown
    assert "zerosearch_searches_total 2.0" in shown
    assert "zerosearch_noisy_searches_total 2.0" in shown
    assert "zerosearch_noise_probability 1.0" in shown


def test_noise_needs_an_engine_that_supports_it():
    engine = BM25Engine.from_passages([{"text": "Ann Lee built the bridge."}])
    for noise in (1.0, NoiseSchedule(0.0, 0.5)):
        with pytest.raises(ValueError, match="'bm25' cannot return noisy documents"):
            SearchServer(CachedEngine(engine), noise=noise)
    with serve(CachedEngine(engine)) as server:
        with pytest.raises(urllib.error.HTTPError, match="400") as error:
            send(server, "/noise", {"probability": 1.0}, method="PUT")
        with error.value:
            assert "'bm25' cannot return noisy documents" in error.value.read().decode()
        assert json.loads(send(server, "/noise"))["probability"] == 0.0
        retrieve(server, query="bridge")
        assert "zerosearch_noisy_searches_total 0.0" in send(server, "/metrics").decode()
        send(server, "/noise", {"probability": 0.0}, method="PUT")


def test_an_engine_may_not_have_a_longer_limit_than_the_server():
    engine = HTTPEngine("http://127.0.0.1:1/retrieve", timeout_s=90.0)
    with pytest.raises(ValueError, match="'http' has a limit of 90 s, more than timeout_s=60"):
        SearchServer(engine)


def test_the_client_retries_and_reports_the_last_failure(engine, monkeypatch):
    monkeypatch.setattr("zs_env.engines.http._BACKOFF_S", 0.001)
    request = SearchRequest("a", None, None, (True,), 1)
    with pytest.raises(SearchError, match=r"gave no page: .*refused"):
        HTTPEngine("http://127.0.0.1:9/retrieve").search([request])
    with serve(engine) as server:
        engine.failure = SearchError("down")
        with pytest.raises(SearchError, match="status 502: the engine failed: down"):
            HTTPEngine(f"{server.address}/retrieve").search([request])
        assert len(engine.batches) == 3
    with pytest.raises(ValueError, match="expected http://HOST:PORT/retrieve"):
        HTTPEngine("localhost:8000")
