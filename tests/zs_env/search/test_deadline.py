import gc
import threading
import time
from queue import Empty
from types import SimpleNamespace

import pytest

from zs_env.search import deadline
from zs_env.search.deadline import TIMED_OUT, PendingCalls


def test_calls_end_in_any_order_and_each_keeps_its_id():
    gate = threading.Event()

    def search(requests):
        if requests == ["slow"]:
            assert gate.wait(timeout=30)
        return f"page of {requests[0]}"

    calls = PendingCalls()
    slow, fast = (calls.submit(search, [name], timeout_s=30) for name in ("slow", "fast"))
    assert calls.wait() == {fast: "page of fast"}
    assert calls.wait(0.0) == {} and len(calls) == 1
    gate.set()
    assert calls.wait() == {slow: "page of slow"}
    assert calls.wait() == {}  # nothing is open, so nothing is waited for
    calls.close()


def test_threads_are_used_again():
    threads = set()

    def search(requests):
        threads.add(threading.get_ident())

    calls = PendingCalls()
    for _ in range(5):
        calls.submit(search, ["query"], timeout_s=30)
        assert list(calls.wait().values()) == [None]
    assert len(threads) == 1
    calls.close()


def test_a_late_result_is_a_timeout_and_never_returned():
    gate, answered = threading.Event(), threading.Event()

    def search(requests):
        if requests == ["hangs"]:
            assert gate.wait(timeout=30)
            answered.set()
        return "page"

    calls = PendingCalls()
    call_id = calls.submit(search, ["hangs"], timeout_s=0.2)
    assert calls.wait() == {call_id: TIMED_OUT}
    gate.set()
    assert answered.wait(timeout=30)
    other = calls.submit(search, ["query"], timeout_s=0.2)
    assert calls.wait() == {other: "page"}
    calls.close()


class _Clock:
    """A clock that only waiting moves, and a queue of results that stays empty."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def get(self, timeout):
        self.now += timeout
        raise Empty

    def put(self, result):
        """Drop the result of an abandoned call."""

    def empty(self):
        return True


@pytest.mark.parametrize("between", [0.25, 6.0])
def test_each_call_is_late_at_its_own_deadline(monkeypatch, between):
    gate, clock = threading.Event(), _Clock()
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=clock.monotonic))
    calls = PendingCalls()
    monkeypatch.setattr(calls, "_results", clock)
    first = calls.submit(lambda _: gate.wait(timeout=30), ["first"], timeout_s=10)
    clock.now = between
    second = calls.submit(lambda _: gate.wait(timeout=30), ["second"], timeout_s=10)
    assert calls.wait() == {first: TIMED_OUT} and clock.now == 10.0
    assert calls.wait() == {second: TIMED_OUT} and clock.now == 10.0 + between
    gate.set()
    calls.close()


def test_a_result_that_arrived_in_time_is_no_timeout_when_it_is_asked_for_late():
    calls = PendingCalls()
    call_id = calls.submit(lambda requests: "page", ["query"], timeout_s=0.5)
    while not calls.has_result():
        time.sleep(0.001)
    time.sleep(0.6)
    assert calls.wait() == {call_id: "page"}
    calls.close()


def test_threads_end_when_nothing_holds_the_calls():
    threads = []

    def search(requests):
        threads.append(threading.current_thread())

    calls = PendingCalls()
    calls.submit(search, ["query"], timeout_s=30)
    calls.wait()
    del calls
    gc.collect()
    threads[0].join(timeout=30)
    assert not threads[0].is_alive()
