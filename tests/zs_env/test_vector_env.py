"""The vector environment: one engine call per step, and the episodes of single environments."""

import functools

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from zs_env import Document, Question, SearchPage, ZeroSearchEnv, ZeroSearchVectorEnv
from zs_env.noise import AdaptiveNoise, NoiseSchedule

QUESTIONS = [Question(id=str(n), text=f"Question {n}?", answers=(f"gold {n}",)) for n in range(9)]


class Echo:
    in_process = supports_noise = True

    def __init__(self):
        self.batches = []

    def search(self, requests):
        self.batches.append(list(requests))
        return [SearchPage((Document(f"{r.query} {r.seed} {r.useful}"),)) for r in requests]


def make_single(**settings):
    return ZeroSearchEnv(QUESTIONS, Echo(), **{"noise": 0.5, "max_turns": 4} | settings)


def make_vector(num_envs, engine=None, **settings):
    settings = {"noise": 0.5, "max_turns": 4} | settings
    return ZeroSearchVectorEnv(num_envs, QUESTIONS, engine or Echo(), **settings)


def scripted_actions(step, num_envs):
    texts = ("<search>a</search>", "nothing", "<answer>gold 1</answer>", "<search>b</search>")
    return tuple(texts[(step + 2 * index) % 4] for index in range(num_envs))


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray) and one.dtype == object:
        return len(one) == len(other) and all(map(equal, one, other))
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


def trace(env, num_envs, steps=12):
    results = [env.reset(seed=5)]
    for step in range(steps):
        results.append(env.step(scripted_actions(step, num_envs)))
    env.close()
    return results


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("noise", [0.5, {"start": 0.0, "end": 1.0, "total_steps": 3}])
def test_it_returns_what_gymnasiums_sync_vector_returns(mode, noise):
    single = functools.partial(make_single, noise=noise)
    theirs = trace(SyncVectorEnv([single] * 3, autoreset_mode=mode), 3)
    ours = trace(make_vector(3, noise=noise, autoreset_mode=mode), 3)
    for step, (one, other) in enumerate(zip(theirs, ours, strict=True)):
        for name, left, right in zip(("obs", "reward", "t", "t", "info"), one, other, strict=False):
            assert equal(left, right), (step, name)


def world_trace(mode, **kwargs):
    env = gymnasium.make_vec(
        "ZeroSearch-v0", num_envs=3, vectorization_mode=mode, noise=0.5, max_turns=4, **kwargs
    )
    return trace(env, 3)


def test_sync_async_and_our_own_vector_play_the_same_episodes():
    own = world_trace(None)
    sync = world_trace("sync")
    shared = world_trace("async", vector_kwargs={"shared_memory": True})
    for mine, theirs, processes in zip(own, sync, shared, strict=True):
        assert all(map(equal, mine, theirs))
        assert all(map(equal, mine, processes))


def test_async_without_shared_memory_plays_the_same_episodes():
    own = trace(make_vector(2), 2, steps=5)
    piped = trace(AsyncVectorEnv([make_single] * 2, shared_memory=False), 2, steps=5)
    for one, other in zip(own, piped, strict=True):
        assert all(map(equal, one, other))


def test_a_step_makes_one_engine_call_with_all_searches():
    engine = Echo()
    env = make_vector(4, engine)
    env.reset(seed=0)
    env.step(("<search>x</search>", "hm", "<search>y</search>", "<answer>z</answer>"))
    assert [[r.query for r in batch] for batch in engine.batches] == [["x", "y"]]
    env.step(("hm", "hm", "hm", "ignored"))
    assert len(engine.batches) == 1, "a step without a search makes no call"
    assert env.costs.batches == 1


def test_next_step_resets_in_the_step_after_the_end():
    env = make_vector(2)
    env.reset(seed=0)
    before = env.transcript(0).seed
    _, _, terminated, _, info = env.step(("<answer>q</answer>", "hm"))
    assert terminated.tolist() == [True, False]
    assert info["_reason"].tolist() == [True, False]
    observation, rewards, terminated, _, info = env.step(("<search>no</search>", "hm"))
    assert not terminated.any()
    assert rewards[0] == 0.0
    assert env.transcript(0).turns == ()
    assert env.transcript(0).seed != before
    assert observation["message"][0] == env.transcript(0).prompt
    assert "reason" not in info


def test_same_step_keeps_the_final_observation_and_info():
    env = make_vector(2, autoreset_mode="SameStep")
    env.reset(seed=0, options={"question_index": 1})
    observation, rewards, terminated, _, info = env.step(("<answer>gold 1</answer>", "hm"))
    assert rewards.tolist() == [1.0, 0.0]
    assert terminated.tolist() == [True, False]
    assert info["final_obs"][0]["transcript"].endswith("<answer>gold 1</answer>")
    assert info["final_obs"][1] is None
    assert info["final_info"]["reason"].tolist() == ["answer", None]
    assert info["final_info"]["scores"]["f1"].tolist() == [1.0, 0.0]
    assert "answers" not in info
    assert observation["message"][0] == env.transcript(0).prompt
    *_, terminated, _, _ = env.step(("hm", "hm"))
    assert not terminated.any()


def test_disabled_ignores_actions_for_episodes_that_are_over():
    engine = Echo()
    env = make_vector(2, engine, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0, options={"question_index": 1})
    first, *_ = env.step(("<answer>gold 1</answer>", "hm"))
    again, rewards, terminated, truncated, info = env.step(("<search>x</search>",) * 2)
    assert [len(batch) for batch in engine.batches] == [1]
    assert rewards.tolist() == [0.0, 0.0]
    assert terminated.tolist() == [True, False]
    assert not truncated.any()
    assert again["transcript"][0] == first["transcript"][0]
    assert info["_action"].tolist() == [False, True]
    played = env.transcript(1)
    _, info = env.reset(options={"reset_mask": np.array([True, False])})
    assert info["_question_id"].tolist() == [True, False]
    assert env.transcript(0).turns == ()
    assert env.transcript(1) == played
    *_, terminated, _, _ = env.step(("hm", "hm"))
    assert not terminated.any()


def test_a_mask_resets_one_of_two_finished_sub_environments():
    engine = Echo()
    env = make_vector(3, engine, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    *_, terminated, _, _ = env.step(("<answer>a</answer>", "<answer>b</answer>", "hm"))
    assert terminated.tolist() == [True, True, False]
    finished, unfinished = env.transcript(1), env.transcript(2)
    env.reset(options={"reset_mask": np.array([True, False, False])})
    assert env.transcript(0).turns == ()
    assert (env.transcript(1), env.transcript(2)) == (finished, unfinished)
    _, rewards, terminated, truncated, info = env.step(("<search>x</search>",) * 3)
    assert info["_action"].tolist() == [True, False, True]
    assert [request.query for batch in engine.batches for request in batch] == ["x", "x"]
    assert terminated.tolist() == [False, True, False]
    assert rewards.tolist() == [0.0] * 3 and not truncated.any()
    assert env.transcript(1) == finished


def test_options_may_differ_between_sub_environments():
    env = make_vector(3)
    _, info = env.reset(
        seed=[1, None, 3],
        options={
            "question_index": [4, 5, 6],
            "noise_probability": np.array([0.0, 0.5, 1.0]),
            "group_seed": 8,
        },
    )
    assert info["question_id"].tolist() == ["4", "5", "6"]
    assert info["noise_probability"].tolist() == [0.0, 0.5, 1.0]
    assert [env.transcript(index).seed for index in range(3)] == [8, 8, 8]


def test_each_sub_environment_counts_its_own_episodes():
    schedule = NoiseSchedule(0.0, 1.0, total_steps=4, shape="linear")
    env = make_vector(2, noise=schedule, autoreset_mode="Disabled")
    env.reset(seed=0)
    env.reset(options={"reset_mask": np.array([True, False])})
    _, info = env.reset()
    assert info["noise_probability"].tolist() == [0.5, 0.25]
    _, info = env.reset(seed=[None, 7])
    assert info["noise_probability"].tolist() == [0.75, 0.0]


def test_each_sub_environment_adapts_to_its_own_rewards():
    env = make_vector(2, noise=AdaptiveNoise(0.1, 0.5, window=1, rate=0.1))
    env.reset(seed=0, options={"question_index": 1})
    env.step(("<answer>gold 1</answer>", "<answer>wrong</answer>"))
    *_, info = env.step(("", ""))
    assert info["noise_probability"].tolist() == [pytest.approx(0.2), 0.1]


def test_observations_are_in_the_observation_space():
    env = make_vector(3)
    observation, _ = env.reset(seed=0)
    for step in range(8):
        assert observation in env.observation_space
        observation, rewards, *_ = env.step(scripted_actions(step, 3))
        assert rewards.dtype == np.float64
    assert env.action_space.sample() in env.action_space


def test_wrong_shapes_are_errors_and_change_nothing():
    env = make_vector(2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(("", ""))
    with pytest.raises(gymnasium.error.ResetNeeded, match="all"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=0)
    with pytest.raises(ValueError, match="2 actions, got 3"):
        env.step(("", "", ""))
    with pytest.raises(TypeError, match="NoneType"):
        env.step(("hm", None))  # type: ignore[arg-type]
    assert env.transcript(0).turns == ()
    with pytest.raises(ValueError, match="3 values of seed"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="1 values of question_index"):
        env.reset(options={"question_index": [1]})
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": np.array([False, False])})
    with pytest.raises(ValueError, match="num_envs"):
        make_vector(0)


def test_options_are_not_changed_by_reset():
    env = make_vector(2)
    env.reset(seed=0)
    options = {"reset_mask": np.array([True, False]), "question_index": 3}
    env.reset(options=options)
    assert set(options) == {"reset_mask", "question_index"}


def test_render_returns_a_text_for_each_sub_environment():
    env = make_vector(2, render_mode="ansi")
    env.reset(seed=0)
    env.step(("<search>one</search>", "<search>two</search>"))
    first, second = env.render()
    assert "one" in first
    assert "two" in second


def test_gymnasiums_statistics_wrapper_sums_the_rewards():
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(make_vector(2))
    env.reset(seed=0, options={"question_index": 1})
    env.step(("hm", "hm"))
    *_, info = env.step(("<answer>gold 1</answer>", "<answer>x</answer>"))
    assert info["episode"]["r"].tolist() == [1.0, 0.0]
    assert info["episode"]["l"].tolist() == [2, 2]


def test_an_unknown_autoreset_mode_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'same_step', expected one of \['NextStep', 'SameStep'"):
        make_vector(2, autoreset_mode="same_step")
