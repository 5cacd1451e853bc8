"""Every episode ends, whatever an engine does; a failure is never an observation or a reward."""

import pickle
import random
import threading
import time

import pytest

from zs_env import (
    Document,
    Question,
    SearchError,
    SearchPage,
    ZeroSearchEnv,
    ZeroSearchVectorEnv,
)

QUESTIONS = [Question(id=str(n), text=f"Question {n}?", answers=(f"gold {n}",)) for n in range(20)]
SEARCH = "<search>q</search>"


def page(count=5):
    return SearchPage(tuple(Document(f"document {n}") for n in range(count)))


def fails(requests):
    raise SearchError("the backend is down")


def raises(requests):
    raise KeyError("a bug in an engine")


FAILURES = {
    "SearchError: the backend is down": fails,
    "KeyError": raises,
    "wrong number of pages: 0 for 1": lambda requests: [],
    "wrong number of pages: 2 for 1": lambda requests: [page()] * 2,
    "wrong type: search() returned NoneType": lambda requests: None,
    "wrong type: search() returned SearchPage": lambda requests: page(),
    "wrong type: str in place of a SearchPage": lambda requests: ["text"],
    "expected Document objects on a page, got str": lambda requests: [SearchPage(("text",))],
    "got str and int": lambda requests: [SearchPage((Document(3),))],
    "got NoneType and str": lambda requests: [SearchPage((), cost=None)],
}


class Engine:
    def __init__(self, search, in_process=True):
        self.search, self.in_process = search, in_process


@pytest.mark.parametrize("in_process", [True, False])
@pytest.mark.parametrize("reason", FAILURES)
def test_a_failure_truncates_the_episode_and_is_named(reason, in_process):
    env = ZeroSearchEnv(QUESTIONS, Engine(FAILURES[reason], in_process))
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(SEARCH)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["reason"] == "failure"
    assert reason in info["failure"]
    assert info["reward_terms"] == {}
    assert observation["message"] == ""
    assert info["failure"] not in observation["transcript"]
    assert env.transcript().failure == info["failure"]
    assert env.costs.failures == 1
    env.close()


def test_a_hanging_engine_is_left_behind_and_the_next_call_gets_through():
    released, calls = threading.Event(), []

    def search(requests):
        calls.append(1)
        if len(calls) == 1:
            released.wait(30)
        return [page()] * len(requests)

    env = ZeroSearchEnv(QUESTIONS, Engine(search, in_process=False), engine_timeout_s=0.1)
    env.reset(seed=0)
    *_, truncated, info = env.step(SEARCH)
    assert truncated
    assert info["failure"] == "timeout: no page within 0.1 s"
    env.reset()
    observation, *_, truncated, info = env.step(SEARCH)
    assert not truncated
    assert observation["documents"][0] == "document 0"
    released.set()
    time.sleep(0.05)
    observation, *_ = env.step(SEARCH)
    assert observation["documents"][0] == "document 0", "the late page is dropped"
    env.close()


def test_a_batch_that_raises_fails_all_its_searches_and_nothing_else():
    env = ZeroSearchVectorEnv(3, QUESTIONS, Engine(fails))
    env.reset(seed=0)
    *_, truncated, info = env.step((SEARCH, "hm", SEARCH))
    assert truncated.tolist() == [True, False, True]
    assert info["failure"].tolist() == [
        "SearchError: the backend is down",
        None,
        info["failure"][2],
    ]


def test_a_wrong_page_fails_its_own_episode_only():
    env = ZeroSearchVectorEnv(2, QUESTIONS, Engine(lambda requests: [page(), 7]))
    env.reset(seed=0)
    observation, _, _, truncated, info = env.step((SEARCH, SEARCH))
    assert truncated.tolist() == [False, True]
    assert observation["documents"][0] == ("document 0", "")
    assert info["_failure"].tolist() == [False, True]


def test_an_error_in_place_of_a_page_fails_its_own_episode_only():
    error = SearchError("no server left")
    env = ZeroSearchVectorEnv(2, QUESTIONS, Engine(lambda requests: [page(), error]))
    env.reset(seed=0)
    *_, truncated, info = env.step((SEARCH, SEARCH))
    assert truncated.tolist() == [False, True]
    assert info["failure"][1] == "SearchError: no server left"


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 50])
def test_short_and_long_pages_are_answers_and_are_counted(count):
    env = ZeroSearchEnv(QUESTIONS, Engine(lambda requests: [page(count)]))
    env.reset(seed=0)
    observation, _, _, truncated, info = env.step(SEARCH)
    assert not truncated
    shown = min(count, 5)
    assert len(info["documents"]) == shown
    assert [text != "" for text in observation["documents"]] == [True] * shown + [False] * (
        5 - shown
    )
    assert (env.costs.short_pages, env.costs.long_pages) == (count < 5, count > 5)


def test_metadata_that_cannot_be_hashed_is_no_failure():
    document = Document("text", metadata=(("tags", ["a", "b"]),))
    env = ZeroSearchEnv(QUESTIONS, Engine(lambda requests: [SearchPage((document,))]))
    env.reset(seed=0)
    *_, info = env.step(SEARCH)
    assert info["documents"][0].metadata == (("tags", ["a", "b"]),)


def test_a_timeout_must_be_positive():
    with pytest.raises(ValueError, match="engine_timeout_s"):
        ZeroSearchEnv(QUESTIONS, Engine(fails), engine_timeout_s=0)


class Unreliable:
    """Fails in three of ten calls, in one of six ways; other pages have any length."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.calls, self.broken = 0, 0

    def search(self, requests):
        self.calls += 1
        if self.rng.random() >= 0.3:
            return [page(self.rng.choice((0, 2, 5, 9))) for _ in requests]
        self.broken += 1
        way = self.rng.randrange(6)
        if way == 0:
            time.sleep(0.2)
        elif way == 1:
            raise TimeoutError("read timed out")
        elif way == 2:
            raise SearchError("no")
        elif way == 3:
            return [page()] * (len(requests) + 1)
        elif way == 4:
            return [42] * len(requests)
        return "nonsense"


def test_every_episode_ends_on_an_engine_that_fails_in_three_of_ten_calls():
    engine = Unreliable(0)
    env = ZeroSearchVectorEnv(4, QUESTIONS, engine, engine_timeout_s=0.05, max_turns=3)
    env.reset(seed=0)
    ended = {"answer": 0, "turn_limit": 0, "failure": 0}
    rng = random.Random(1)
    for _ in range(150):
        actions = [rng.choice((SEARCH, SEARCH, "<answer>gold</answer>", "hm")) for _ in range(4)]
        _, rewards, terminated, truncated, info = env.step(actions)
        for index in range(4):
            if terminated[index] or truncated[index]:
                reason = info["reason"][index]
                ended[reason] += 1
                assert (info["failure"][index] is not None) == (reason == "failure")
                assert reason != "failure" or rewards[index] == 0.0
                assert terminated[index] == (reason == "answer")
    env.close()
    assert min(ended.values()) > 20
    assert engine.broken > 20
    assert env.costs.failures >= ended["failure"] > 0
    assert env.costs.short_pages > 0
    assert env.costs.long_pages > 0


def test_an_interrupted_search_leaves_the_environment_usable():
    class Slow:
        interrupted = False

        def search(self, requests):
            return [SearchPage((Document("x"),)) for _ in requests]

    env = ZeroSearchEnv([Question(id="1", text="Who?", answers=("Ada",))], Slow(), max_turns=9)
    env.reset(seed=0)
    calls = env._engine._calls
    wait = calls.wait

    def interrupt(*arguments):
        calls.wait = wait
        raise KeyboardInterrupt

    calls.wait = interrupt
    with pytest.raises(KeyboardInterrupt):
        env.step("<search>a</search>")
    for _ in range(3):
        env.reset(seed=0)
        observation, *_ = env.step("<search>b</search>")
        assert "x" in observation["message"]
    env.close()


def test_an_environment_can_be_pickled_after_a_search():
    env = ZeroSearchEnv([Question(id="1", text="Who?", answers=("Ada",))], Remote(), max_turns=9)
    env.reset(seed=0)
    env.step("<search>a</search>")
    again = pickle.loads(pickle.dumps(env))
    pages = [one.step("<search>b</search>")[0]["message"] for one in (env, again)]
    assert pages[0] == pages[1] and "b" in pages[0]
    env.close()
    env.close()


class Remote:
    """An engine that is called in a thread."""

    def search(self, requests):
        return [SearchPage((Document(request.query),)) for request in requests]
