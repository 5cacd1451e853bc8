"""Documents opened through /retrieve: by our server in full, by other servers as they send them."""

import json
import urllib.request
from dataclasses import replace

import pytest
from aiohttp import web

from tests.zs_env.engines.conformance import check_engine
from tests.zs_env.loopback import Loopback
from zs_env.engines import BM25Engine, HTTPEngine
from zs_env.noise import NoiseSchedule
from zs_env.search.engine import SearchEngine, search_checked
from zs_env.search.types import Document, SearchError, SearchPage, SearchRequest
from zs_env.server.app import SearchServer
from zs_env.server.settings import ServerSettings
from zs_env.world import World, WorldEngine, WorldQuestions

PASSAGES = [
    {"id": "0", "title": "Rome", "text": "The Tiber flows through Rome."},
    {"id": "1", "title": "Rome", "text": "It has seven hills."},
    {"id": "2", "title": "Oslo", "text": "The Akerselva flows through Oslo."},
]
FLOWS = SearchRequest("flows", None, None, (True, True), 0)


def bm25():
    return BM25Engine.from_passages(PASSAGES)


def serve(engine, **settings):
    server = SearchServer(engine, settings=ServerSettings(no_auth=True), **settings)
    return Loopback(server.application())


def client(server, **settings):
    return HTTPEngine(f"{server.address}/retrieve", **settings)


def opens(page, request=FLOWS):
    documents = (replace(one, rank=rank) for rank, one in enumerate(page.documents))
    return [replace(request, document=one) for one in documents]


def shown_and_opened(engine):
    (page,) = search_checked(engine, [FLOWS])
    found = search_checked(engine, opens(page))
    texts = [one if isinstance(one, SearchError) else one.documents[0].text for one in found]
    return [one.text for one in page.documents], texts


@pytest.mark.parametrize("make", [bm25, lambda: WorldEngine(World(0))])
def test_engines_behind_our_server_keep_the_contract(make):
    questions = WorldQuestions(World(0))
    queries = [questions[number].text for number in (0, 1)]
    if isinstance(make(), BM25Engine):
        queries = ["flows Rome", "flows Oslo"]
    asked = [SearchRequest(query, None, None, (True,) * 2, 0) for query in queries]
    with serve(make()) as server:
        check_engine(lambda: client(server), asked)


def test_our_server_sends_the_whole_document():
    with serve(bm25()) as server:
        shown, opened = shown_and_opened(client(server))
    assert sorted(shown) == [PASSAGES[2]["text"], PASSAGES[0]["text"]]
    whole = f"{PASSAGES[0]['text']}\n{PASSAGES[1]['text']}"
    assert sorted(opened) == [PASSAGES[2]["text"], whole]


class Closed(SearchEngine):
    """Returns passages, and opens none."""

    def search(self, requests):
        return [SearchPage((Document("long text", "T"), Document("b"))) for _ in requests]


def test_a_server_whose_engine_cannot_open_sends_its_documents_again():
    with serve(Closed()) as server:
        assert shown_and_opened(client(server)) == (["long text", "b"], ["long text", "b"])


@pytest.mark.parametrize("strict", [False, True])
def test_a_foreign_server_gets_a_plain_search_at_last(strict):
    bodies = []

    async def retrieve(asked):
        bodies.append(json.loads(await asked.read()))
        if strict and "open" in bodies[-1]:
            raise web.HTTPUnprocessableEntity(text="extra fields not permitted")
        page = [{"document": {"contents": "T\na"}}, {"document": {"contents": "T\nb"}}]
        return web.json_response({"result": [page for _ in bodies[-1]["queries"]]})

    application = web.Application()
    application.router.add_post("/retrieve", retrieve)
    with Loopback(application) as server:
        assert shown_and_opened(client(server)) == (["a", "b"], ["a", "b"])
    plain = {"queries": ["flows", "flows"], "topk": 2, "return_scores": True}
    assert bodies[0] == plain | {"queries": ["flows"]}
    assert bodies[1:] == [plain | {"open": [1, 2]}, plain][: 2 if strict else 1]


def test_an_open_is_no_search_of_the_noise_schedule():
    engine, noise = WorldEngine(World(0)), NoiseSchedule(0.0, 1.0, 4)
    with serve(engine, noise=noise) as server:
        shown_and_opened(client(server))
        with urllib.request.urlopen(f"{server.address}/noise", timeout=10) as answer:
            assert json.load(answer)["searches"] == 1
        with urllib.request.urlopen(f"{server.address}/metrics", timeout=10) as answer:
            assert b"zerosearch_searches_total 1.0" in answer.read()


def test_another_page_than_the_shown_one_is_an_error():
    with serve(bm25()) as server:
        engine = client(server, max_tries=1)
        wrong = replace(FLOWS, document=Document("Rome burns.", "Rome"))
        beyond = replace(FLOWS, query="hills", document=Document("b", rank=1))
        for answer in search_checked(engine, [wrong, beyond]):
            assert isinstance(answer, SearchError) and "another page" in str(answer)


class Broken(Closed):
    """Fails to open."""

    can_open = True

    def open(self, requests):
        return [SearchError("the shelf is empty") for _ in requests]


def test_an_engine_that_fails_to_open_is_an_error():
    with serve(Broken()) as server:
        (page,) = search_checked(client(server), [FLOWS])
        (found, _) = search_checked(client(server, max_tries=1), opens(page))
    assert isinstance(found, SearchError) and "the shelf is empty" in str(found)
