"""Pools on one vector and on separate environments play the same episodes."""

import gymnasium
import pytest

from agents.baselines import RandomWords
from agents.env_pool import EnvPool, SeparateEnvPool, episode_seed, open_pool
from agents.evaluation.evaluate import play_episodes


def _separate(**settings) -> SeparateEnvPool:
    noise = settings.pop("noise_probability", None)
    return SeparateEnvPool(
        lambda: gymnasium.make("ZeroSearch-v0", **settings),
        3,
        options={"noise_probability": noise},
    )


def _transcripts(pool):
    played = play_episodes(RandomWords(), pool, range(12), seed=4)
    by_index = {result.index: transcript for result, transcript in played}
    pool.close()
    return [by_index[index] for index in range(12)]


@pytest.mark.parametrize("noise", [None, 0.0, 0.5, 1.0])
def test_both_pools_play_the_same_episodes_at_the_given_noise(noise):
    pool = open_pool("ZeroSearch-v0", 5, env_kwargs={"noise": 0.25}, noise=noise)
    assert type(pool) is EnvPool
    transcripts = _transcripts(pool)
    assert transcripts == _transcripts(_separate(noise=0.25, noise_probability=noise))
    probabilities = {transcript.noise_probability for transcript in transcripts}
    assert probabilities == {0.25 if noise is None else noise}
    useful = {
        document.useful
        for transcript in transcripts
        for turn in transcript.turns
        for document in turn.documents
    }
    assert useful == {0.0: {True}, 1.0: {False}}.get(noise, {True, False})


def test_both_pools_give_the_observations_and_infos_of_an_episode():
    pools = [open_pool("ZeroSearch-v0", 5), _separate()]
    slots = {0: 3, 2: 1}
    for pool in pools:
        pool.start(slots, seeds={0: 7, 2: 8})
    for _ in range(2):
        for slot in slots:
            (observation, info), (other, other_info) = (
                (pool.observation(slot), pool.info(slot)) for pool in pools
            )
            assert observation == other
            assert info == other_info and "episode_id" in info
        assert [pool.step({0: "<search>x</search>", 2: "hm"}) for pool in pools] == [[], []]
    assert [pool.active for pool in pools] == [[0, 2], [0, 2]]
    assert [pool.free_slots for pool in pools] == [[1, 3, 4], [1]]


def test_costs_add_up_over_slots():
    pool = _separate()
    searches = sum(transcript.num_searches for transcript in _transcripts(pool))
    assert pool.costs()["searches"] == searches > 0


def test_episode_seeds_depend_on_seed_and_question():
    seeds = {episode_seed(seed, index) for seed in range(20) for index in range(20)}
    assert len(seeds) == 400 and all(0 <= seed < 2**32 for seed in seeds)


def test_an_observation_exists_only_once_an_episode_was_started():
    pool = open_pool("ZeroSearch-v0", 1)
    with pytest.raises(RuntimeError, match="start"):
        pool.observation(0)
