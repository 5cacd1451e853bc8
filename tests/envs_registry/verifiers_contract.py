"""The environment for verifiers, evaluated by its command line against a scripted model.

Needs verifiers: `test_verifiers.py` runs this file in an environment that has it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envs_registry.verifiers import SearchEnv, SearchEnvConfig, SearchTasksetConfig
from tests.envs_registry.broken_judge import REWARD
from tests.envs_registry.documented import SERVER, commands
from tests.envs_registry.scripted_chat import (
    BROKEN,
    ENVIRONMENT,
    TURNS,
    completion,
    environment_settings,
    next_turn,
)
from tests.paths import ROOT
from tests.zs_env.simulator.generators.chat_server import ChatServer
from zs_env.config import make_env


def _evaluate(folder, environment, answer=next_turn, *flags):
    """Records of the episodes of two questions, and the requests that the model got."""
    command = [
        *("vf-eval", "zerosearch-gym", "--env.taskset.environment", json.dumps(environment)),
        *("-n", "2", "-r", "2", "-m", "m", "--client.base-url", f"{SERVER}/v1"),
        *("--client.api-key-var", "NO_SUCH_KEY", "--no-push", *flags),
    ]
    return _run(folder, command, answer)


def _run(folder, command, answer=next_turn):
    """Records and requests of a command whose model is a scripted server."""
    program = Path(sys.executable).with_name(command[0])
    with ChatServer(answer) as server:
        arguments = [word.replace(f"{SERVER}/v1", server.url) for word in command[1:]]
        finished = subprocess.run(
            [program, *arguments, "--no-rich", "-o", folder, "--run.name", "test"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    lines = (folder / "test" / "traces.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], server.bodies


@pytest.mark.parametrize("command", commands("verifiers"), ids=["README", "docs"])
def test_the_documented_commands_play(tmp_path, command):
    number = command.index("-n") + 1
    assert command[number] == "20"
    command[number] = "2"
    episodes, bodies = _run(tmp_path, command)
    assert len(episodes) == 2 * int(command[command.index("-r") + 1] if "-r" in command else 1)
    assert all(episode["ok"] for episode in episodes)
    assert {body["model"] for body in bodies} == {"MODEL"}


def _played(index, *, seed, options):
    """Messages and transcript of the same turns in the environment."""
    env = make_env(**environment_settings(ENVIRONMENT))
    observation, _ = env.reset(seed=seed, options=options)
    messages = [observation["message"]]
    turns = [
        *TURNS[:2],
        f"<answer>{env.questions[0].answers[0]}</answer>" if not index else TURNS[2],
    ]
    for text in turns:
        observation, *_ = env.step(text)
        messages += [text, observation["message"]]
    return messages[:-1], env.transcript()


def test_the_command_line_plays_the_same_episodes_as_the_environment(tmp_path):
    flags = ("--env.taskset.share-group-seed", "--env.taskset.noise-probability", "0.5")
    episodes, bodies = _evaluate(tmp_path, ENVIRONMENT, next_turn, *flags)
    assert len(episodes) == 4
    assert len(bodies) == 12
    config = SearchTasksetConfig(id="zerosearch-gym", share_group_seed=True, noise_probability=0.5)
    env = SearchEnv(SearchEnvConfig(taskset=config))
    # All episodes of a question get the pages of its group seed.
    settings = {index: _reset_settings(env, task) for index, task in enumerate(env.taskset.take(2))}
    for episode in episodes:
        assert episode["ok"]
        (trace,) = episode["traces"]
        data = trace["task"]["data"]
        index = data["question_index"]
        messages, transcript = _played(index, **settings[index])
        assert [node["message"]["content"] for node in trace["nodes"]] == messages
        assert data["id"] == transcript.question.id
        assert {name: one["score"] for name, one in trace["rewards"].items()} == dict(
            transcript.reward_terms
        )
        assert trace["metrics"] == {
            **transcript.scores(),
            "num_searches": 1.0,
            "noise_probability": 0.5,
        }
        assert trace["metrics"]["f1"] == (1.0 if index == 0 else 0.0)
        assert trace["info"]["zerosearch"]["reason"] == "answer"


def test_a_failed_engine_is_an_error_and_no_reward(tmp_path):
    async def search(body):
        return completion("<search>x</search>")

    episodes, _ = _evaluate(tmp_path, {**ENVIRONMENT, "engine": BROKEN}, search)
    assert len(episodes) == 4
    for episode in episodes:
        assert not episode["ok"]
        assert "failed: SearchError: http" in episode["errors"][-1]["message"]
        (trace,) = episode["traces"]
        assert not trace["ok"]
        assert not any(trace.get("rewards", {}).values())


def test_a_failed_judge_is_named_in_the_error(tmp_path):
    episodes, _ = _evaluate(tmp_path, {**ENVIRONMENT, "reward": REWARD})
    for episode in episodes:
        message = episode["errors"][-1]["message"]
        assert "judge: " in message and "no such model" in message and "engine" not in message


def test_a_limit_of_verifiers_ends_the_episode_without_an_answer(tmp_path):
    flags = ("--env.agent.max-turns", "1")
    episodes, bodies = _evaluate(tmp_path, ENVIRONMENT, next_turn, *flags)
    assert len(bodies) == 4
    for episode in episodes:
        (trace,) = episode["traces"]
        assert trace["info"]["zerosearch"]["reason"] == "turn_limit"
        assert trace["rewards"]["f1"]["score"] == 0.0


def _reset_settings(env, task):
    return env.episodes.reset_settings(task.data.question_index)


def _env(**settings):
    config = SearchTasksetConfig(
        id="zerosearch-gym",
        environment={**ENVIRONMENT, "noise": {"start": 0.0, "end": 1.0, "total_steps": 9}},
        **settings,
    )
    return SearchEnv(SearchEnvConfig(taskset=config))


def test_the_noise_schedule_follows_the_episodes():
    env = _env(training_step=1, episodes_per_step=4)
    (task,) = env.taskset.take(1)
    steps = [_reset_settings(env, task)["options"]["training_step"] for _ in range(12)]
    assert steps == [1] * 4 + [2] * 4 + [3] * 4
    env = _env(training_step=3)
    assert {_reset_settings(env, task)["options"]["training_step"] for _ in range(9)} == {3}


@pytest.mark.parametrize("share", [False, True])
def test_episodes_have_seeds_of_their_own_and_share_one_on_request(share):
    first, second = _env(share_group_seed=share), _env(share_group_seed=share)
    tasks = list(first.taskset.take(2))
    settings = [_reset_settings(first, task) for task in tasks for _ in range(4)]
    assert settings == [_reset_settings(second, task) for task in tasks for _ in range(4)]
    assert len({one["seed"] for one in settings}) == 8
    shared = [one["options"].get("group_seed") for one in settings]
    if share:
        assert shared[:4] == shared[:1] * 4
        assert shared[4:] == shared[4:5] * 4
        assert shared[0] != shared[4]
    else:
        assert shared == [None] * 8
    assert _env(seed=1).episodes.reset_settings(0)["seed"] != settings[0]["seed"]
