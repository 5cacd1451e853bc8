"""Episodes of skyrl_gym are those of the Gymnasium environment."""

import pytest

pytest.importorskip("skyrl_gym", reason="needs skyrl_gym: pip install 'zerosearch-gym[skyrl]'")

import skyrl_gym
from skyrl_gym.envs import deregister

from envs_registry.shared_environment import SharedEnvironment
from envs_registry.skyrl import ENV_CLASS, EpisodeFailed, register_environment
from envs_registry.verl import verl_row
from tests.envs_registry.broken_judge import REWARD

WORLD = {
    "id": "ZeroSearch-v0",
    "max_turns": 3,
    "noise": {"start": 0.0, "end": 1.0, "total_steps": 10},
}
# No server listens on this port.
BROKEN = {"kind": "http", "url": "http://127.0.0.1:9/retrieve", "max_tries": 1, "timeout_s": 5.0}
ENVIRONMENTS = {
    "unjudged": {**WORLD, "reward": REWARD},
    "train": WORLD,
    "broken": {"id": "ZeroSearch-v0", "engine": BROKEN, "noise": 0.0, "max_turns": 3},
}
QUESTION = 5


@pytest.fixture(autouse=True)
def registered():
    register_environment(ENVIRONMENTS)
    yield
    deregister(ENV_CLASS)


def _row(name="train", **settings):
    env = SharedEnvironment(WORLD).make()
    return verl_row(env, QUESTION, data_source=name, **settings)


def _make(row, **extras):
    """An environment, made as in SkyRL's generator."""
    return skyrl_gym.make(ENV_CLASS, env_config={}, extras={**row, "max_turns": 3, **extras})


def _page(row, **extras):
    """The page of one search, the same in every episode with the same randomness."""
    env = _make(row, **extras)
    env.init([])
    return env.step("<search>the rival</search>")["observations"]


def test_an_episode_is_that_of_the_environment():
    row = _row(noise_probability=0.5, seed=7)
    env, reference = _make(row), SharedEnvironment(WORLD).make()
    observation, _ = reference.reset(
        seed=7, options={"question_index": QUESTION, "noise_probability": 0.5}
    )
    assert env.init(row["prompt"]) == ([{"role": "user", "content": observation["message"]}], {})
    answer = reference.transcript().question.answers[0]
    for text in ("<search>the rival</search>", "I know nothing.", f"<answer>{answer}</answer>"):
        observation, reward, terminated, truncated, _ = reference.step(text)
        step = env.step(text)
        done = terminated or truncated
        expected = [] if done else [{"role": "user", "content": observation["message"]}]
        assert (step["observations"], step["reward"], step["done"]) == (expected, reward, done)
        assert step.get("postprocessed_action") is None
    assert step["done"]
    assert step["reward"] == 1.0
    assert env.get_metrics() == {
        **{"f1": 1.0, "exact_match": 1.0, "cover_match": 1.0},
        **{"num_searches": 1, "noise_probability": 0.5},
    }


def test_metrics_of_episodes_are_averaged():
    episodes = [{"f1": 1.0, "num_searches": 1}, {"f1": 0.0, "num_searches": 2}]
    assert type(_make(_row())).aggregate_metrics(episodes) == {"f1": 0.5, "num_searches": 1.5}


def test_an_episode_without_an_answer_has_the_reward_0():
    env = _make(_row())
    env.init([])
    steps = [env.step("I know nothing.") for _ in range(3)]
    assert [(step["reward"], step["done"]) for step in steps] == [(0, False), (0, False), (0, True)]


@pytest.mark.parametrize(("step", "noise"), [(0, 0.0), (10, 1.0)])
def test_the_training_step_sets_the_noise(step, noise):
    env = _make(_row(), training_step=step, repetition_id=0)
    env.init([])
    assert env.get_metrics()["noise_probability"] == noise


def test_members_of_a_group_have_randomness_of_their_own():
    row = _row(noise_probability=0.5)
    pages = [_page(row, training_step=3, repetition_id=member) for member in range(8)]
    assert pages[0] == _page(row, training_step=3, repetition_id=0)
    assert any(page != pages[0] for page in pages)


def test_members_of_a_group_share_their_pages_on_request():
    deregister(ENV_CLASS)
    register_environment(ENVIRONMENTS, share_group_seed=True)
    row = _row(noise_probability=0.5)
    pages = [_page(row, training_step=3, repetition_id=member) for member in range(8)]
    assert all(page == pages[0] for page in pages)
    later = [_page(row, training_step=step, repetition_id=0) for step in range(4, 12)]
    assert any(page != pages[0] for page in later)


def test_a_failed_episode_has_no_reward():
    env = _make(_row("broken", noise_probability=0.0))
    env.init([])
    with pytest.raises(EpisodeFailed):
        env.step("<search>a</search>")


def test_a_row_of_other_questions_is_an_error():
    row = _row()
    row["extra_info"]["question_id"] = "other"
    with pytest.raises(ValueError, match="verl-rows"):
        _make(row).init([])


def test_another_turn_limit_of_the_generator_is_an_error():
    with pytest.raises(ValueError, match=r"generator\.max_turns is 1"):
        _make(_row(), max_turns=1)


def test_an_unknown_data_source_is_an_error():
    with pytest.raises(ValueError, match="'trian'"):
        _make(_row("trian"))


def test_a_failed_judge_is_named_in_the_error():
    env = _make(_row("unjudged"))
    env.init([])
    with pytest.raises(EpisodeFailed, match=r"judge: .*no such model"):
        env.step("<answer>nobody</answer>")
