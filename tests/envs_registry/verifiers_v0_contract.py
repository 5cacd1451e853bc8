"""The environment for verifiers before 0.4, evaluated by its command line against a scripted model.

Needs verifiers 0.3: `test_verifiers.py` runs this file in an environment that has it.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import verifiers as vf
from verifiers.legacy.clients import resolve_client

from envs_registry.verifiers_v0 import load_environment
from tests.envs_registry.broken_judge import REWARD
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


def _evaluate(folder, environment, answer=next_turn, **settings):
    """Results of two questions, each played twice."""
    program = Path(sys.executable).parent / "vf-eval"
    arguments = json.dumps({"environment": environment, "num_questions": 2, **settings})
    with ChatServer(answer) as server:
        command = [
            *(program, "zerosearch-gym", "-a", arguments, "-n", "2", "-r", "2", "-m", "m"),
            *("-b", server.url, "-k", "STUB_KEY", "-s", "-o", folder, "-d"),
        ]
        finished = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "STUB_KEY": "none"},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    (results,) = folder.rglob("results.jsonl")
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert len(rows) == 4
    return rows


def test_the_command_line_plays_the_same_episodes_as_the_environment(tmp_path):
    noise = {"noise_probability": 0.5, "share_group_seed": True}
    for row in _evaluate(tmp_path, ENVIRONMENT, **noise):
        index = row["info"]["question_index"]
        env = make_env(**environment_settings(ENVIRONMENT))
        options = {"question_index": index, "noise_probability": 0.5}
        prompt, _ = env.reset(options=options)
        assert row["prompt"][0]["content"] == prompt["message"]
        texts = [message["content"] for message in row["completion"]]
        assert texts[0::2][:2] == TURNS[:2]
        notice = env.step(TURNS[0])[0]["message"]
        assert texts[1] == notice
        assert "<information>" in texts[3]
        assert len(texts) == 5
        assert row["error"] is None
        assert row["reward"] == row["f1"] == (1.0 if index == 0 else 0.0)
        assert row["num_searches"] == 1.0
        assert row["noise_probability"] == 0.5


def test_a_failed_engine_is_an_error(tmp_path):
    async def search(body):
        return completion("<search>x</search>")

    for row in _evaluate(tmp_path, {**ENVIRONMENT, "engine": BROKEN}, search):
        assert "failed: SearchError: http" in json.dumps(row["error"])


def test_a_failed_judge_is_named_in_the_error(tmp_path):
    for row in _evaluate(tmp_path, {**ENVIRONMENT, "reward": REWARD}):
        message = json.dumps(row["error"])
        assert "judge: " in message and "no such model" in message and "engine" not in message


@pytest.mark.parametrize(
    ("text", "reward", "reason"),
    [("<answer>{}</answer>", 1.0, "answer"), ("<search>{}</search>", -0.25, "turn_limit")],
)
def test_a_limit_of_tokens_cuts_neither_the_last_message_nor_the_terms(text, reward, reason):
    async def reply(body):
        question = make_env(**environment_settings(ENVIRONMENT)).questions[0]
        return completion(text.format(question.answers[0]))

    terms = {"f1": 1.0, "searches": -0.25}
    env = load_environment({**ENVIRONMENT, "reward": {"terms": terms}}, num_questions=1)
    env.set_max_total_completion_tokens(1)
    row = {"example_id": 0, **env.dataset[0]}

    async def play(url):
        client = resolve_client(vf.ClientConfig(api_base_url=url, api_key_var="NO_KEY"))
        output = await env.run_rollout(row, client, "m", {}, state_columns=["zerosearch"])
        await client.close()
        return output

    with ChatServer(reply) as server:
        output = asyncio.run(play(server.url))
    assert output["error"] is None
    assert (output["reward"], output["zerosearch"]["reason"]) == (reward, reason)
    assert output["num_searches"] == (reason == "turn_limit")
