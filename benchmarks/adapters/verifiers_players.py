"""Players for verifiers 0.4 and for the versions before; a scripted chat server is the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.adapters.episodes import Play, Played, Script
from envs_registry.shared_environment import shared_environment


@contextmanager
def verifiers_player() -> Iterator[Play]:
    """Play through the agents of verifiers 0.4."""
    import verifiers.v1 as vf  # type: ignore[import-not-found]
    from verifiers.v1.clients import ModelContext  # type: ignore[import-not-found]

    from envs_registry.verifiers import SearchEnv, SearchEnvConfig, SearchTask, SearchTaskData

    async def run(script: Script, url: str) -> Played:
        taskset = {
            "id": "zerosearch-gym",
            "environment": dict(script.environment),
            "noise_probability": script.noise_probability,
            "seed": script.seed,
            "share_group_seed": True,
        }
        env = SearchEnv(SearchEnvConfig.model_validate({"taskset": taskset}))
        question_id, prompt = _question(script)
        data = SearchTaskData(id=question_id, prompt=prompt, question_index=script.question_index)
        context = ModelContext("scripted", vf.EvalClientConfig(base_url=url, api_key_var="NO_KEY"))
        async with env.serving():
            episode = await env.run_episode(SearchTask(data, env.taskset.config.task), context)
        if not episode.ok:
            return Played(failed=True)
        (trace,) = episode.traces
        messages = [one.content for one in trace.branches[0].messages if one.role == "user"]
        return _played(messages, trace.reward, trace.info["zerosearch"]["reason"])

    with _scripted(run) as play:
        yield play


@contextmanager
def verifiers_v0_player() -> Iterator[Play]:
    """Play through `load_environment` of verifiers 0.3."""
    import verifiers as vf  # type: ignore[import-not-found]

    from envs_registry.verifiers_v0 import load_environment

    async def run(script: Script, url: str) -> Played:
        env = load_environment(
            script.environment,
            num_questions=1,
            noise_probability=script.noise_probability,
            seed=script.seed,
            share_group_seed=True,
        )
        _, prompt = _question(script)
        row = {
            "example_id": 0,
            "prompt": [{"role": "user", "content": prompt}],
            "info": {"question_index": script.question_index},
        }
        client = vf.ClientConfig(api_base_url=url, api_key_var="NO_KEY")
        output = await env.run_rollout(row, client, "scripted", {}, state_columns=["zerosearch"])
        if output["error"] is not None:
            return Played(failed=True)
        chat = [*output["prompt"], *output["completion"]]
        messages = [one["content"] for one in chat if one["role"] == "user"]
        return _played(messages, output["reward"], output["zerosearch"]["reason"])

    with _scripted(run) as play:
        yield play


def verifiers_reset(script: Script) -> dict[str, Any]:
    """Return the group seed that the adapter derives from the seed of the run."""
    entropy = (script.seed, script.question_index)
    group_seed = int(np.random.SeedSequence(entropy).generate_state(2)[0])
    return {"options": {**script.options, "group_seed": group_seed}}


@contextmanager
def _scripted(run: Callable[[Script, str], Coroutine[Any, Any, Played]]) -> Iterator[Play]:
    """Yield the player of `run`, which gets a script and the URL of a server that plays it."""
    from tests.envs_registry.scripted_chat import completion
    from tests.zs_env.simulator.generators.chat_server import ChatServer

    texts: list[str] = []

    async def reply(body: dict[str, Any]) -> Any:
        return completion(texts[sum(one["role"] == "assistant" for one in body["messages"])])

    with ChatServer(reply) as server, asyncio.Runner() as runner:

        def play(script: Script) -> Played:
            texts[:] = script.texts
            return runner.run(run(script, server.url))

        yield play


def _question(script: Script) -> tuple[str, str]:
    """Return the id and the prompt of the question."""
    env = shared_environment(script.spec).make()
    _, info = env.reset(options={"question_index": script.question_index})
    return info["question_id"], env.transcript().prompt


def _played(messages: list[str], reward: float, reason: str) -> Played:
    return Played(
        failed=False,
        messages=(*messages, ""),  # an episode that is over has no further message
        reward=reward,
        terminated=reason == "answer",
        truncated=reason == "turn_limit",
    )
