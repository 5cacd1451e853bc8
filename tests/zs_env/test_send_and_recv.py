"""send and recv: the same episodes as with step, and no episode waits for another one."""

import threading
import time

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from zs_env import Document, Question, SearchPage, ZeroSearchVectorEnv
from zs_env.search.types import BudgetExceeded

QUESTIONS = [Question(id=str(n), text=f"Question {n}?", answers=(f"gold {n}",)) for n in range(9)]
SEARCHES = {"a": "<search>a</search>", "b": "<search>b</search>"}


class Gates:
    """An engine whose page for a query comes once the query's gate is open."""

    supports_noise = thread_safe = True

    def __init__(self, *closed):
        self.gates = {query: threading.Event() for query in closed}
        self.batches = []

    def search(self, requests):
        self.batches.append([request.query for request in requests])
        for request in requests:
            if request.query in self.gates:
                assert self.gates[request.query].wait(timeout=30)
        return [SearchPage((Document(f"{r.query} {r.seed}"),)) for r in requests]


class Computes(Gates):
    in_process = True


def make(engine, num_envs=3, **settings):
    settings = {"noise": 0.5, "max_turns": 3, "autoreset_mode": AutoresetMode.DISABLED} | settings
    return ZeroSearchVectorEnv(num_envs, QUESTIONS, engine, **settings)


def receive(env, count):
    """Receive until so many sub-environments have answered."""
    steps = {}
    while len(steps) < count:
        steps |= env.recv()
    return steps


@pytest.mark.parametrize("engine", [Gates, Computes])
def test_send_and_recv_play_the_episodes_of_step(engine):
    apart, together = make(engine()), make(engine())
    apart.reset(seed=5)
    together.reset(seed=5)
    for actions in (
        (SEARCHES["a"], "nothing", SEARCHES["b"]),
        (SEARCHES["b"], SEARCHES["a"], "<answer>gold 2</answer>"),
        ("<answer>x</answer>", "<answer>gold 1</answer>", "ignored"),
    ):
        over = together._terminated | together._truncated
        observation, rewards, terminated, truncated, _ = together.step(actions)
        sent = {i: action for i, action in enumerate(actions) if not over[i]}
        apart.send(sent)
        steps = receive(apart, len(sent))
        assert steps.keys() == sent.keys()
        for i, (one, reward, done, cut, info) in steps.items():
            assert one["message"] == observation["message"][i]
            assert (reward, done, cut) == (rewards[i], terminated[i], truncated[i])
            assert info["question_id"] == apart.transcript(i).question.id
    for i in range(3):
        assert apart.transcript(i) == together.transcript(i)
    assert apart.recv() == {} and not apart.can_recv()
    assert apart.costs.searches == together.costs.searches == 4


def test_an_episode_continues_while_another_waits_for_its_page():
    engine = Gates("a")
    env = make(engine, num_envs=2)
    env.reset(seed=0)
    env.send({0: SEARCHES["a"], 1: SEARCHES["b"]})
    assert list(env.recv()) == [1]
    env.send({1: "<answer>gold 1</answer>"})
    assert env.can_recv()
    assert env.recv()[1][2]  # it is over, and the other still waits
    assert env.recv(timeout_s=0.0) == {}
    engine.gates["a"].set()
    assert list(env.recv()) == [0]
    assert sorted(engine.batches) == [["a"], ["b"]]


def test_an_engine_that_only_computes_gets_all_searches_in_one_call():
    engine = Computes()
    env = make(engine)
    env.reset(seed=0)
    env.send({0: SEARCHES["a"], 1: "nothing", 2: SEARCHES["b"]})
    assert engine.batches == [["a", "b"]]
    assert sorted(env.recv()) == [0, 1, 2]


def test_a_timeout_fails_only_its_own_episode():
    engine = Gates("a")
    env = make(engine, num_envs=2, engine_timeout_s=0.3)
    env.reset(seed=0)
    env.send({0: SEARCHES["a"]})
    late = env.recv()
    assert late[0][3] and "timeout" in env.transcript(0).failure
    env.send({1: SEARCHES["b"]})
    assert not env.recv()[1][3]
    engine.gates["a"].set()


def test_the_page_of_an_episode_that_was_reset_is_dropped():
    engine = Gates("a")
    env = make(engine, num_envs=2)
    env.reset(seed=0)
    env.send({0: SEARCHES["a"]})
    env.reset(seed=1, options={"reset_mask": np.array([True, False])})
    engine.gates["a"].set()
    assert env.recv() == {}
    assert env.transcript(0).turns == ()
    env.send({0: SEARCHES["b"]})
    assert list(env.recv()) == [0]


def test_an_action_that_was_sent_before_a_reset_is_dropped():
    env = make(Gates("b"), num_envs=2)
    env.reset(seed=0)
    env.send({0: "no action"})
    env.reset(seed=1, options={"reset_mask": np.array([True, False])})
    assert not env.can_recv()
    env.send({0: SEARCHES["a"]})
    observation = env.recv()[0][0]
    assert "<information>" in observation["message"]


def test_answers_do_not_call_the_engine():
    engine = Computes()
    env = make(engine)
    env.reset(seed=0)
    env.send({0: "<answer>x</answer>", 1: "nothing"})
    assert sorted(env.recv()) == [0, 1] and engine.batches == []


def test_recv_raises_budget_exceeded():
    class Poor:
        supports_noise = True

        def search(self, requests):
            raise BudgetExceeded("nothing left")

    env = make(Poor())
    env.reset(seed=0)
    env.send({0: SEARCHES["a"]})
    with pytest.raises(BudgetExceeded, match="nothing left"):
        env.recv()


def test_wrong_calls_are_errors():
    env = make(Gates("a"))
    with pytest.raises(ResetNeeded):
        env.send({0: "x"})
    env.reset(seed=0)
    env.send({0: SEARCHES["a"]})
    with pytest.raises(ValueError, match="pending action"):
        env.send({0: "x"})
    with pytest.raises(ValueError, match=r"call recv\(\) first"):
        env.step(["x", "x", "x"])
    with pytest.raises(TypeError):
        env.send({1: 5})
    env.send({1: "<answer>x</answer>"})
    env.recv()
    with pytest.raises(ValueError, match="episode of sub-environment 1 is over"):
        env.send({1: "x"})
    with pytest.raises(ValueError, match="DISABLED"):
        again = make(Gates(), autoreset_mode=AutoresetMode.NEXT_STEP)
        again.reset(seed=0)
        again.send({0: "x"})


class OldestFirst(Gates):
    """Opens the gate of "a" when asked for "b", and answers after it."""

    def search(self, requests):
        if requests[0].query == "b":
            self.gates["a"].set()
            time.sleep(0.3)
        return super().search(requests)


def test_a_step_after_a_reset_gets_its_own_page_and_no_older_one():
    env = make(OldestFirst("a"), num_envs=1)
    env.reset(seed=0)
    env.send({0: SEARCHES["a"]})
    env.reset(seed=1)
    *_, truncated, _ = env.step((SEARCHES["b"],))
    assert not truncated[0]
    (turn,) = env.transcript(0).turns
    assert turn.documents[0].text.startswith("b ")
    assert env.recv() == {}
