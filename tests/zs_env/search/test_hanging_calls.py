"""One deadline for a call and all engines inside it; hanging calls are abandoned."""

import threading
import time
from collections import Counter

import pytest

import envs_registry  # noqa: F401  (registers the ids)
from tests.zs_env.search.contract_requests import QUESTIONS, bm25, page_of, request
from zs_env import SearchError, ZeroSearchEnv, ZeroSearchVectorEnv
from zs_env.config import make_env
from zs_env.engines import (
    CachedEngine,
    HTTPEngine,
    MeteredEngine,
    MixtureEngine,
    ScriptedEngine,
)
from zs_env.search.deadline import CallLock, deadline_of, time_left_s
from zs_env.search.prices import PriceTable


class Hangs:
    """Hangs in its first call, until it is released."""

    fingerprint = "hangs"

    def __init__(self, **attributes):
        self.__dict__.update(attributes)
        self.calls, self.released = 0, threading.Event()

    def search(self, requests):
        self.calls += 1
        if self.calls == 1:
            self.released.wait(30)
        return [page_of(one) for one in requests]


@pytest.mark.parametrize("limits", [{"deadline_s": 500}, {"read_timeout_s": 120}])
def test_a_limit_of_an_engine_above_the_deadline_is_an_error(limits):
    generator = {"kind": "server", "servers": "http://127.0.0.1:1/v1", "limits": limits}
    engine = {"kind": "cache", "engine": {"kind": "simulator", "generator": generator}}
    with pytest.raises(ValueError, match=r"'simulator' has a limit of \d+ s, more than engine_"):
        make_env(engine=engine)
    make_env(engine=engine, engine_timeout_s=500).close()
    make_env(engine=engine, engine_timeout_s=None).close()


def test_limits_that_were_not_set_follow_the_deadline():
    generator = {"kind": "server", "servers": "http://127.0.0.1:1/v1"}
    make_env(engine={"kind": "simulator", "generator": generator}, engine_timeout_s=1.0).close()
    make_env(engine={"kind": "http", "url": "http://127.0.0.1:1/x"}, engine_timeout_s=1.0).close()
    http = HTTPEngine("http://127.0.0.1:1/x", timeout_s=2.0)
    with pytest.raises(ValueError, match="'mixture' has a limit of 2 s"):
        ZeroSearchEnv(QUESTIONS, MixtureEngine([bm25(), http]), engine_timeout_s=1.0)


def test_every_engine_inside_sees_the_rest_of_the_time():
    left = []

    def script(one):
        left.append(time_left_s())
        return ["x"]

    engine = MeteredEngine(MixtureEngine([ScriptedEngine(script, fingerprint="s")]))
    env = ZeroSearchEnv(QUESTIONS, CachedEngine(engine), engine_timeout_s=7.0)
    env.reset(seed=0)
    env.step("<search>a</search>")
    env.close()
    assert len(left) == 1 and 0.0 < left[0] <= 7.0
    assert time_left_s() == float("inf")


def test_a_late_call_is_late_at_its_own_deadline():
    with deadline_of(0.5):
        assert 0.0 < time_left_s() <= 0.5
        with deadline_of(0.1):
            assert 0.0 < time_left_s() <= 0.1


def test_a_hanging_call_does_not_poison_later_equal_requests():
    engine = Hangs(query_only=True)
    cached = CachedEngine(engine)
    failures = []
    for seed in range(3):
        env = ZeroSearchEnv(QUESTIONS, cached, num_documents=1, engine_timeout_s=0.2)
        env.reset(seed=seed)
        *_, info = env.step("<search>q</search>")
        failures.append(info.get("failure"))
        env.close()
    assert failures == ["timeout: no page within 0.2 s", None, None]
    assert engine.calls == 2
    engine.released.set()


@pytest.mark.parametrize("thread_safe", [True, False])
def test_requests_that_waited_for_a_hanging_call_get_their_own_try(thread_safe):
    engine = Hangs(query_only=True, thread_safe=thread_safe)
    cached = CachedEngine(engine)
    vector = ZeroSearchVectorEnv(
        3, QUESTIONS, cached, num_documents=1, engine_timeout_s=0.3, autoreset_mode="Disabled"
    )
    vector.reset(seed=0)
    vector.send(dict.fromkeys(range(3), "<search>q</search>"))
    results = {}
    while len(results) < 3:
        results |= vector.recv()
    failed = [index for index, (*_, info) in results.items() if info.get("failure")]
    assert len(failed) == 1, "only the request of the hanging call fails"
    engine.released.set()
    vector.close()


def test_an_environment_that_is_closed_during_a_call_ends_its_step():
    engine = Hangs(in_process=False)
    env = ZeroSearchEnv(QUESTIONS, engine, num_documents=1, engine_timeout_s=30)
    env.reset(seed=0)
    errors = []

    def step():
        try:
            env.step("<search>q</search>")
        except RuntimeError as error:
            errors.append(str(error))

    stepping = threading.Thread(target=step, daemon=True)
    stepping.start()
    while not engine.calls:
        time.sleep(0.01)
    env.close()
    stepping.join(timeout=25)
    engine.released.set()
    assert errors == ["the environment was closed while it waited for a call"]


def test_a_request_with_a_deadline_does_not_wait_for_a_call_without_one():
    engine = Hangs(thread_safe=True)
    cached = CachedEngine(engine)
    first = threading.Thread(target=cached.search, args=([request("q")],), daemon=True)
    first.start()
    while not engine.calls:
        time.sleep(0.001)
    with deadline_of(0.2):
        (page,) = cached.search([request("q")])
    assert page.documents[0].text == "on q"
    engine.released.set()
    first.join(10)
    assert cached.search([request("q")])[0] == page, "the first page is kept"


def test_a_hanging_first_search_does_not_block_a_meter():
    engine = Hangs(thread_safe=True)
    meter = MeteredEngine(engine, prices=PriceTable(call=1.0), budget=10.0)
    env = ZeroSearchEnv(QUESTIONS, meter, engine_timeout_s=0.2)
    failures = []
    for seed in range(2):
        env.reset(seed=seed)
        failures.append(env.step("<search>q</search>")[-1].get("failure"))
    assert failures == ["timeout: no page within 0.2 s", None]
    engine.released.set()
    env.close()


def test_an_engine_that_always_hangs_fails_all_who_wait_after_three_calls():
    lock, over = CallLock(), threading.Event()
    results = []

    def call():
        with deadline_of(0.1):
            try:
                with lock():
                    over.wait(30)
                results.append("ended")
            except SearchError as error:
                results.append(str(error))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while len(results) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    over.set()
    for thread in threads:
        thread.join(10)
    counts = Counter(results)
    assert counts["ended"] == 4 and counts["the last 3 calls of the engine hang"] == 4
