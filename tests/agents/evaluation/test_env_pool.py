"""Seats: a vector's and single environments' give the same episodes."""

import pytest

from agents.baselines import RandomWords
from agents.evaluation.env_pool import SingleSeats, VectorSeats, episode_seed, open_seats
from agents.evaluation.episodes import play_episodes


def _transcripts(seats):
    played = play_episodes(RandomWords(), seats, range(12), seed=4)
    by_index = {result.index: transcript for result, transcript in played}
    seats.close()
    return [by_index[index] for index in range(12)]


@pytest.mark.parametrize("noise", [None, 0.0, 0.5, 1.0])
def test_vector_and_single_seats_play_the_same_episodes_under_the_given_noise(noise):
    settings = {"env_kwargs": {"noise": 0.25}, "seed": 4, "noise": noise}
    vector = open_seats("ZeroSearch-v0", 5, **settings)
    assert isinstance(vector, VectorSeats)
    transcripts = _transcripts(vector)
    assert transcripts == _transcripts(SingleSeats("ZeroSearch-v0", 3, **settings))
    probabilities = {transcript.noise_probability for transcript in transcripts}
    assert probabilities == {0.25 if noise is None else noise}
    useful = {
        document.useful
        for transcript in transcripts
        for turn in transcript.turns
        for document in turn.documents
    }
    assert useful == {0.0: {True}, 1.0: {False}}.get(noise, {True, False})


def test_costs_add_up_over_seats():
    seats = SingleSeats("ZeroSearch-v0", 3, seed=4)
    searches = sum(transcript.num_searches for transcript in _transcripts(seats))
    assert seats.costs()["searches"] == searches > 0


def test_episode_seeds_depend_on_seed_and_question():
    seeds = {episode_seed(seed, index) for seed in range(20) for index in range(20)}
    assert len(seeds) == 400 and all(0 <= seed < 2**32 for seed in seeds)


def test_a_seat_is_looked_at_only_once_something_is_played():
    seats = open_seats("ZeroSearch-v0", 1)
    with pytest.raises(RuntimeError, match="start"):
        seats.observation(0)
