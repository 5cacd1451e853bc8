"""The order of questions, and noise objects of users."""

import gymnasium
import numpy as np
import pytest

from zs_env import Question, ZeroSearchEnv, ZeroSearchVectorEnv
from zs_env.engines import ScriptedEngine

ENGINE = ScriptedEngine(lambda request: (), supports_noise=True)
QUESTIONS = [Question(id=str(n), text=f"Q{n}?", answers=(f"a{n}",)) for n in range(7)]


def played(env, count, seed=None):
    """Return the ids of the questions of a number of episodes."""
    ids = []
    for number in range(count):
        _, info = env.reset(seed=seed if number == 0 else None)
        ids.append(info["question_id"])
    return ids


@pytest.mark.parametrize("seed", range(5))
def test_a_shuffled_epoch_has_each_question_once(seed):
    ids = played(ZeroSearchEnv(QUESTIONS, ENGINE, order="shuffled"), 21, seed)
    epochs = [ids[start : start + 7] for start in (0, 7, 14)]
    for epoch in epochs:
        assert sorted(epoch) == list("0123456")
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_every_order_of_three_questions_is_equally_frequent():
    env = ZeroSearchEnv(QUESTIONS[:3], ENGINE, order="shuffled")
    ids = played(env, 3 * 1200, seed=0)
    orders = ["".join(ids[start : start + 3]) for start in range(0, len(ids), 3)]
    counts = [orders.count(order) for order in ("012", "021", "102", "120", "201", "210")]
    # 200 expected for each, standard deviation 12.9.
    assert sum(counts) == 1200 and all(148 < count < 252 for count in counts)


def test_a_seed_begins_a_new_epoch_and_repeats_it():
    env = ZeroSearchEnv(QUESTIONS, ENGINE, order="shuffled")
    first = played(env, 4, seed=3)
    assert played(env, 4, seed=3) == first
    assert sorted(first + played(env, 3)) == list("0123456")


def test_options_do_not_change_the_order():
    env = ZeroSearchEnv(QUESTIONS, ENGINE, order="shuffled")
    plain = played(env, 7, seed=1)
    env.reset(seed=1)
    env.reset(options={"question_index": 0})
    assert played(env, 5) == plain[2:]


def test_each_sub_environment_plays_the_order_of_its_seed():
    env = ZeroSearchVectorEnv(2, QUESTIONS, ENGINE, order="shuffled", autoreset_mode="Disabled")
    ids = [env.reset(seed=5)[1]["question_id"]]
    ids += [env.reset()[1]["question_id"] for _ in range(6)]
    for index in range(2):
        alone = ZeroSearchEnv(QUESTIONS, ENGINE, order="shuffled")
        assert [row[index] for row in ids] == played(alone, 7, seed=5 + index)


def test_a_dataset_of_unlimited_length_can_be_shuffled():
    class Unlimited:
        def __len__(self):
            return 2**62

        def __getitem__(self, index):
            return Question(id=str(index), text="Q?", answers=("a",))

    assert len(set(played(ZeroSearchEnv(Unlimited(), ENGINE, order="shuffled"), 50, 0))) == 50


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match=r"order='sorted'.*'shuffled'"):
        ZeroSearchEnv(QUESTIONS, ENGINE, order="sorted")  # type: ignore[arg-type]


class Recorded:
    """A noise that counts what it receives; copies share the counts."""

    def __init__(self, received):
        self.received = received

    def __deepcopy__(self, memo):
        return self

    def probability(self, step):
        return np.float32(0.25)

    def record(self, reward):
        self.received.append(reward)

    def reset(self):
        self.received.append("reset")


def test_a_noise_of_a_user_gets_rewards_and_resets():
    received = []
    env = ZeroSearchEnv(QUESTIONS[:1], ENGINE, noise=Recorded(received))
    _, info = env.reset(seed=0)
    assert info["noise_probability"] == 0.25 and type(info["noise_probability"]) is float
    env.step("<search>x</search>")
    env.step("<answer>a0</answer>")
    env.reset()
    env.step("<answer>other</answer>")
    assert received == ["reset", 1.0, 0.0]


def test_a_noise_of_a_user_hears_of_no_failed_episode():
    class Fails:
        supports_noise = True

        def search(self, requests):
            raise RuntimeError("down")

    received = []
    env = ZeroSearchEnv(QUESTIONS[:1], Fails(), noise=Recorded(received))
    env.reset()
    assert env.step("<search>x</search>")[3]
    assert received == []


def test_a_noise_of_a_user_may_lack_both_methods_but_not_its_range():
    class Plain:
        def __init__(self, value):
            self.value = value

        def probability(self, step):
            return self.value

    env = ZeroSearchEnv(QUESTIONS[:1], ENGINE, noise=Plain(0.5))
    env.reset(seed=0)
    assert env.step("<answer>a0</answer>")[2]
    with pytest.raises(ValueError, match=r"noise_probability must be in \[0, 1\], got 1.5"):
        ZeroSearchEnv(QUESTIONS[:1], ENGINE, noise=Plain(1.5)).reset()


def test_the_random_state_of_a_vector_is_that_of_gymnasium():
    ours = gymnasium.make_vec("ZeroSearch-v0", num_envs=3)
    theirs = gymnasium.make_vec("ZeroSearch-v0", num_envs=3, vectorization_mode="sync")
    ours.reset(seed=5)
    theirs.reset(seed=5)
    assert ours.np_random_seed == theirs.np_random_seed == (5, 6, 7)
    for mine, other in zip(ours.np_random, theirs.np_random, strict=True):
        assert mine.bit_generator.state == other.bit_generator.state
    ours.reset()
    theirs.reset()
    assert ours.np_random_seed == theirs.np_random_seed == (5, 6, 7)
    for env in (ours, theirs):
        env.reset(seed=[1, None, 9])
    assert ours.np_random_seed == theirs.np_random_seed == (1, 6, 9)


def test_a_vector_without_a_seed_has_one():
    env = ZeroSearchVectorEnv(2, QUESTIONS, ENGINE)
    seeds = env.np_random_seed
    env.reset()
    assert env.np_random_seed == seeds and len(set(seeds)) == 2
