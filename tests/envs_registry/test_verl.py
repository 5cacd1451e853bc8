"""Rows for verl, and environments that share an engine."""

import json

import gymnasium
import pytest

from envs_registry.shared_environment import SharedEnvironment
from envs_registry.verl import AGENT_NAME, verl_row
from zs_env import SearchPage

WORLD = {"id": "ZeroSearch-v0", "max_turns": 2, "noise": 0.5}


class _Closable:
    supports_noise = True

    def __init__(self):
        self.closed = 0

    def search(self, requests):
        return [SearchPage(documents=()) for _ in requests]

    def close(self):
        self.closed += 1


def test_a_row_names_its_question_and_its_environment():
    env = SharedEnvironment(WORLD).make()
    row = verl_row(env, 7, data_source="train")
    observation, info = env.reset(options={"question_index": 7})
    assert row["prompt"] == [{"role": "user", "content": observation["message"]}]
    assert row["extra_info"] == {"index": 7, "question_id": info["question_id"]}
    assert row["data_source"] == "train"
    assert row["agent_name"] == AGENT_NAME == "zerosearch"
    answers = list(env.transcript().question.answers)
    assert row["reward_model"]["ground_truth"] == {"target": answers}
    assert json.loads(json.dumps(row)) == row


def test_a_held_out_row_has_noise_and_seed_of_its_own():
    row = verl_row(
        SharedEnvironment(WORLD).make(), 0, data_source="dev", noise_probability=0.0, seed=3
    )
    assert row["extra_info"]["noise_probability"] == 0.0
    assert row["extra_info"]["seed"] == 3


def test_environments_share_only_engine_and_questions():
    shared = SharedEnvironment(WORLD)
    first, second = shared.make(), shared.make()
    first.reset(seed=0, options={"question_index": 1})
    second.reset(seed=0, options={"question_index": 2})
    assert first.transcript().question == shared.questions[1]
    assert second.transcript().question == shared.questions[2]
    assert first.config.max_turns == 2
    assert first.transcript().noise_probability == 0.5


def test_closing_an_environment_leaves_the_shared_engine_open():
    shared = SharedEnvironment(WORLD)
    shared.engine = engine = _Closable()
    shared.make().close()
    assert engine.closed == 0


def test_an_environment_without_an_id_is_an_error():
    with pytest.raises(ValueError, match="expected an 'id'"):
        SharedEnvironment({"max_turns": 2})
    with pytest.raises(gymnasium.error.Error, match="ZeroSearch"):
        SharedEnvironment({"id": "ZeroSerch-v0"})
