"""Failures of one request, and calls of engines that are not thread-safe."""

import threading
import time

import pytest

import envs_registry  # noqa: F401  (registers the ids)
from tests.zs_env.search.contract_requests import QUESTIONS, bm25, page_of, request
from zs_env import Question, SearchError, SearchPage, ZeroSearchVectorEnv
from zs_env.engines import (
    CachedEngine,
    HybridEngine,
    MeteredEngine,
    MixtureEngine,
    ParagraphEngine,
)
from zs_env.episode import Episode
from zs_env.questions.question import Paragraph
from zs_env.search.client import EngineClient
from zs_env.search.engine import as_engine, search_checked
from zs_env.search.prices import PriceTable
from zs_env.search.types import BudgetExceeded


class Plain:
    """Answers every request, one call at a time; a query "bad" breaks the whole call."""

    fingerprint = "plain"

    def __init__(self):
        self.batches, self.running, self.peak = [], 0, 0

    def search(self, requests):
        self.running += 1
        self.peak = max(self.peak, self.running)
        self.batches.append([one.query for one in requests])
        time.sleep(0.002)
        self.running -= 1
        if any(one.query == "bad" for one in requests):
            raise KeyError("bad")
        return [page_of(one) for one in requests]


def test_a_failed_batch_is_sent_again_one_by_one():
    engine = Plain()
    asked = [request(query) for query in ("a", "bad", "b")]
    first, failure, last = search_checked(as_engine(engine), asked)
    assert engine.batches == [["a", "bad", "b"], ["a"], ["bad"], ["b"]]
    assert isinstance(first, SearchPage) and isinstance(last, SearchPage)
    assert str(failure) == "KeyError: 'bad'"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda engine: engine,
        CachedEngine,
        MeteredEngine,
        lambda engine: MeteredEngine(engine, prices=PriceTable(call=1.0), budget=9.0),
        lambda engine: MixtureEngine([engine, engine]),
        lambda engine: CachedEngine(MeteredEngine(MixtureEngine([engine]))),
    ],
)
def test_one_request_that_fails_leaves_the_others_their_pages(wrap):
    vector = ZeroSearchVectorEnv(4, QUESTIONS, wrap(Plain()), num_documents=1)
    vector.reset(seed=0)
    observation, *_, info = vector.step(
        [f"<search>{one}</search>" for one in ("a", "bad", "b", "c")]
    )
    assert observation["documents"] == (("on a", "", "on b", "on c"),)
    assert info["_failure"].tolist() == [False, True, False, False]


def test_a_failing_key_of_another_thread_fails_no_other_request():
    started, go = threading.Event(), threading.Event()

    class Slow(Plain):
        thread_safe = True

        def search(self, requests):
            if any(one.query == "bad" for one in requests):
                started.set()
                go.wait(10)
            return super().search(requests)

    cached = CachedEngine(Slow())
    other = threading.Thread(target=lambda: search_checked(cached, [request("bad")]))
    other.start()
    started.wait(10)
    threading.Timer(0.05, go.set).start()
    good, bad, also = cached.search([request("a"), request("bad"), request("b")])
    other.join(10)
    assert isinstance(good, SearchPage) and isinstance(also, SearchPage)
    assert "KeyError" in str(bad)


def test_a_question_without_paragraphs_fails_alone():
    gold = Paragraph(title="t", text="Ann is here", is_gold=True)
    questions = [
        Question(id="1", text="Q1?", answers=("Ann",), paragraphs=(gold,)),
        Question(id="2", text="Q2?", answers=("B",)),
    ]
    vector = ZeroSearchVectorEnv(2, questions, ParagraphEngine(questions[:1]), num_documents=1)
    vector.reset(seed=0, options={"question_index": [0, 1]})
    *_, info = vector.step(["<search>Ann here</search>", "<search>B</search>"])
    assert info["_failure"].tolist() == [False, True]


@pytest.mark.parametrize("answer", [[], None, [1, 2, 3], "text"])
def test_a_meter_ends_on_an_engine_that_returns_no_pages(answer):
    calls = []

    class Broken:
        def search(self, requests):
            calls.append(1)
            return answer

    meter = MeteredEngine(Broken(), prices=PriceTable(call=1.0), budget=10.0)
    assert all(isinstance(one, SearchError) for one in meter.search([request("a"), request("b")]))
    assert len(calls) == 2


def test_results_are_not_lost_when_the_budget_is_spent():
    class Spent:
        def search(self, requests):
            raise BudgetExceeded("out")

    for in_process in (True, False):
        engine = as_engine(Spent())
        engine.in_process = in_process
        vector = ZeroSearchVectorEnv(2, QUESTIONS, engine, autoreset_mode="Disabled")
        vector.reset(seed=0)
        actions = {0: "<answer>Ann</answer>", 1: "<search>x</search>"}
        if in_process:
            with pytest.raises(BudgetExceeded):
                vector.send(actions)
        else:
            vector.send(actions)
            deadline = time.monotonic() + 10
            while not vector._engine.can_poll() and time.monotonic() < deadline:
                time.sleep(0.001)
            with pytest.raises(BudgetExceeded):
                vector.recv(1.0)
        assert list(vector.recv(1.0)) == [0]
        vector.close()


@pytest.mark.parametrize(
    "wrap", [lambda one: one, CachedEngine, MeteredEngine, lambda one: MixtureEngine([one, one])]
)
def test_an_engine_that_is_not_thread_safe_gets_one_call_at_a_time(wrap):
    engine = Plain()
    wrapped = wrap(engine)
    vector = ZeroSearchVectorEnv(8, QUESTIONS, wrapped, autoreset_mode="Disabled", num_documents=1)
    others = [EngineClient(wrap(engine), timeout_s=30) for _ in range(3)]

    def search(client, number):
        episode = Episode(QUESTIONS[0], seed=number)
        episode.act("<search>x</search>")
        client.resolve([episode])
        assert episode.failure is None
        client.close()

    threads = [
        threading.Thread(target=search, args=pair) for pair in zip(others, range(3), strict=True)
    ]
    for thread in threads:
        thread.start()
    vector.reset(seed=0)
    vector.send({index: f"<search>{index % 3}</search>" for index in range(8)})
    received = {}
    while len(received) < 8:
        received |= vector.recv()
    for thread in threads:
        thread.join(10)
    assert engine.peak == 1
    assert all(info.get("failure") is None for *_, info in received.values())
    vector.close()


def test_a_hybrid_takes_a_cache_and_its_engine():
    engine = bm25()
    hybrid = HybridEngine([CachedEngine(engine), engine])
    (page,) = hybrid.search([request("bridge", 2)])
    assert [one.text for one in page.documents] == ["Ann Lee built the bridge."]
