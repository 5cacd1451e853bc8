"""Plays scripted episodes through the adapters, each with its real framework.

A player is a context manager that yields a function from a `Script` to what the framework returned.
Frameworks are imported when a player starts.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.adapters.episodes import (
    Play,
    Played,
    Script,
    gymnasium_player,
    make_scripts,
    plain_reset,
)
from envs_registry.shared_environment import shared_environment
from envs_registry.verl import verl_row

_LENGTH = 16384  # more tokens than any episode has


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter and how it is compared.

    Attributes:
        package: the framework's distribution.
        play: the player.
        tools_prompt: returns the prompt of an adapter with tools, whose scripts have only the
            valid actions; None for an adapter that takes texts.
        reset: arguments of the reset of the same episode in the plain environment.
        tokens: adds the expected ids and mask; None if the framework exposes none.
    """

    package: str
    play: Callable[[], AbstractContextManager[Play]]
    tools_prompt: Callable[[], str] | None = None
    reset: Callable[[Script], dict[str, Any]] = plain_reset
    tokens: Callable[[Script, Played], Played] | None = None


@contextmanager
def verifiers_player() -> Iterator[Play]:
    """Play through verifiers' own agents; a scripted chat server is the model."""
    import verifiers.v1 as vf
    from aiohttp import web
    from verifiers.v1.clients import ModelContext

    from envs_registry.verifiers import SearchEnv, SearchEnvConfig, SearchTask, SearchTaskData
    from tests.zs_env.simulator.generators.chat_server import ChatServer

    texts: list[str] = []

    async def reply(body: dict[str, Any]) -> Any:
        text = texts[sum(one["role"] == "assistant" for one in body["messages"])]
        message = {"role": "assistant", "content": text}
        return web.json_response(
            {
                "id": "scripted",
                "object": "chat.completion",
                "created": 0,
                "model": "scripted",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )

    async def run(script: Script, url: str) -> Any:
        taskset = {
            "id": "zerosearch-gym",
            "environment": dict(script.environment),
            "noise_probability": script.noise_probability,
            "seed": script.seed,
            "share_group_seed": True,
        }
        env = SearchEnv(SearchEnvConfig.model_validate({"taskset": taskset}))
        plain = shared_environment(_name(script)).make()
        _, info = plain.reset(options={"question_index": script.question_index})
        data = SearchTaskData(
            id=info["question_id"],
            prompt=plain.transcript().prompt,
            question_index=script.question_index,
        )
        context = ModelContext("scripted", vf.EvalClientConfig(base_url=url, api_key_var="NO_KEY"))
        async with env.serving():
            return await env.run_episode(SearchTask(data, env.taskset.config.task), context)

    def play(script: Script) -> Played:
        texts[:] = script.texts
        episode = runner.run(run(script, server.url))
        if not episode.ok:
            return Played(failed=True)
        (trace,) = episode.traces
        said = [one.content for one in trace.branches[0].messages if one.role == "user"]
        reason = trace.info["zerosearch"]["reason"]
        return Played(
            failed=False,
            messages=(*said, ""),  # an episode that is over has no further message
            reward=trace.reward,
            terminated=reason == "answer",
            truncated=reason == "turn_limit",
        )

    with ChatServer(reply) as server, asyncio.Runner() as runner:
        yield play


def verifiers_reset(script: Script) -> dict[str, Any]:
    """Return the group seed that the adapter derives from the seed of the run."""
    entropy = (script.seed, script.question_index)
    group_seed = int(np.random.SeedSequence(entropy).generate_state(2)[0])
    return {"options": {**script.options, "group_seed": group_seed}}


@contextmanager
def verl_player() -> Iterator[Play]:
    """Play through the agent loop, with a scripted server that generates past the closing tags."""
    from hydra import compose, initialize_config_module
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap
    from verl.utils.dataset.rl_dataset import RLHFDataset
    from verl.workers.rollout.replica import TokenOutput

    from agents.llm.policy.location import TINY_POLICY
    from agents.llm.verl.agent_loop import ZeroSearchAgentLoop

    codec = _codec()
    with initialize_config_module("verl.trainer.config", version_base=None):
        overrides = {
            "actor_rollout_ref.model.path": str(TINY_POLICY),
            "actor_rollout_ref.rollout.name": "vllm",
            "data.max_prompt_length": _LENGTH,
            "data.max_response_length": _LENGTH,
        }
        config = compose("ppo_trainer", [f"{name}={value}" for name, value in overrides.items()])

    class Server:
        def __init__(self, script: Script) -> None:
            self.texts = iter(script.texts)

        async def generate(self, request_id: str, *, prompt_ids: Any, **_: Any) -> TokenOutput:
            token_ids = _turn_ids(next(self.texts))
            return TokenOutput(token_ids=list(token_ids), log_probs=[0.0] * len(token_ids))

    async def run(script: Script) -> Any:
        loop = ZeroSearchAgentLoop(
            DictConfigWrap(config),
            Server(script),
            codec.tokenizer,
            None,
            RLHFDataset,
            DictConfigWrap(config.data),
            environments={_name(script): dict(script.environment)},
            max_new_tokens=_LENGTH,
        )
        row = _verl_row(script)
        return await loop.run({"temperature": 1.0}, session_id=0, global_steps=1, **row)

    def play(script: Script) -> Played:
        output = runner.run(run(script))
        if output == []:  # verl's form of a failed episode
            return Played(failed=True)
        mask = [0] * len(output.prompt_ids) + output.response_mask
        return Played(
            failed=False,
            reward=output.reward_score,
            token_ids=(*output.prompt_ids, *output.response_ids),
            mask=tuple(map(bool, mask)),
        )

    with asyncio.Runner() as runner:
        yield play


@contextmanager
def openenv_player() -> Iterator[Play]:
    """Play through a real server and its client, over a socket; one session plays all episodes."""
    from envs_registry.openenv import ZeroSearchAction, ZeroSearchClient
    from tests.envs_registry.openenv_server import serve

    clients: dict[str, Any] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))

        def play(script: Script) -> Played:
            key = _name(script)
            if key not in clients:
                log = folder / f"{len(clients)}.log"
                url = serve(Path(sys.executable), log, dict(script.environment))
                client = ZeroSearchClient(base_url=stack.enter_context(url)).sync()
                clients[key] = stack.enter_context(client)
            client = clients[key]
            results = [client.reset(seed=script.seed, **script.options)]
            for text in script.texts:
                results.append(client.step(ZeroSearchAction(text=text)))
                if results[-1].done:
                    break
            last = results[-1].observation
            failed = last.failure is not None
            return Played(
                failed=failed,
                messages=tuple(one.observation.message for one in results),
                reward=None if last.reward is None else sum(one.reward or 0.0 for one in results),
                terminated=last.done and not last.truncated,
                truncated=last.truncated,
            )

        yield play


@contextmanager
def skyrl_player() -> Iterator[Play]:
    """Play through environments that `skyrl_gym.make` builds, one for each episode."""
    import skyrl_gym

    from envs_registry.skyrl import ENV_CLASS, EpisodeFailed, register_environment

    register_environment({_name(one): dict(one.environment) for one in make_scripts()})

    def play(script: Script) -> Played:
        row = _verl_row(script)
        env = skyrl_gym.make(ENV_CLASS, env_config=None, extras=row)
        (prompt,), _ = env.init(row["prompt"])
        messages, total, output = [prompt["content"]], 0.0, {"done": False, "metadata": {}}
        for text in script.texts:
            try:
                output = env.step(text)
            except EpisodeFailed:
                return Played(failed=True, messages=(*messages, ""))
            messages.append("".join(one["content"] for one in output["observations"]))
            total += output["reward"]
            if output["done"]:
                break
        env.close()
        terminated = output["metadata"].get("reason") == "answer"
        return Played(
            failed=False,
            messages=tuple(messages),
            reward=total,
            terminated=terminated,
            truncated=output["done"] and not terminated,
        )

    yield play


@contextmanager
def trl_player() -> Iterator[Play]:
    """Play through the tools of an `environment_factory`, called as TRL's tool loop does."""
    from envs_registry.trl import SearchTools, trl_row

    def make(environment: Any) -> Any:
        attributes = {"environment": environment, "share_group_seed": True}
        return type("Tools", (SearchTools,), attributes)()

    instances: dict[str, Any] = {}

    def play(script: Script) -> Played:
        key = _name(script)
        if key not in instances:
            instances[key] = make(script.environment)
        tools = instances[key]
        row = trl_row(
            script.question_index, noise_probability=script.noise_probability, seed=script.seed
        )
        messages = [tools.reset(**row)]
        for name, argument in script.calls:
            method = getattr(tools, name)
            (parameter,) = inspect.signature(method).parameters
            messages.append(method(**{parameter: argument}))
        reward = tools.get_reward()
        return Played(failed=reward is None, messages=tuple(messages), reward=reward)

    yield play


def trl_reset(script: Script) -> dict[str, Any]:
    """Return the seed of the row as that of its group."""
    return {"options": {**script.options, "group_seed": script.seed}}


def trl_prompt() -> str:
    """Return the prompt of the tools."""
    from envs_registry.trl import TOOLS_PROMPT

    return TOOLS_PROMPT


def _verl_row(script: Script) -> dict[str, Any]:
    """Return the row of an episode, for verl and SkyRL."""
    return verl_row(
        shared_environment(_name(script)).make(),
        script.question_index,
        data_source=_name(script),
        noise_probability=script.noise_probability,
        seed=script.seed,
    )


def _name(script: Script) -> str:
    return json.dumps(script.environment, sort_keys=True)


def with_tokens(script: Script, played: Played) -> Played:
    """Add the ids and the mask of an episode whose messages are known."""
    from agents.llm.policy.stopping import StopRule
    from zs_env.actions import DEFAULT_TOOLS

    codec = _codec()
    stop_rule = StopRule(codec, script.environment.get("tools", DEFAULT_TOOLS))
    prompt, *messages = played.messages or ()
    ids = list(codec.encode_prompt(prompt))
    mask = [False] * len(ids)
    for text, message in zip(script.texts, messages, strict=False):
        turn, _ = stop_rule.cut(_turn_ids(text))
        page = codec.encode_environment(message) if message else ()
        ids += [*turn, *page]
        mask += [True] * len(turn) + [False] * len(page)
    return replace(played, token_ids=tuple(ids), mask=tuple(mask))


def _turn_ids(text: str) -> tuple[int, ...]:
    """Return the ids that a policy samples for a text: without an action, up to its stop token."""
    codec = _codec()
    return (*codec.encode_environment(text), min(codec.stop_token_ids))


@cache
def _codec() -> Any:
    """Return the codec of the tiny policy's tokenizer."""
    from transformers import AutoTokenizer

    from agents.llm.policy.location import TINY_POLICY
    from agents.llm.policy.text_codec import TextCodec

    return TextCodec(AutoTokenizer.from_pretrained(TINY_POLICY), name="tiny")


ADAPTERS: dict[str, Adapter] = {
    "gymnasium": Adapter(package="gymnasium", play=gymnasium_player),
    "openenv": Adapter(package="openenv", play=openenv_player),
    "skyrl": Adapter(package="skyrl-gym", play=skyrl_player),
    "trl": Adapter(package="trl", play=trl_player, tools_prompt=trl_prompt, reset=trl_reset),
    "verifiers": Adapter(package="verifiers", play=verifiers_player, reset=verifiers_reset),
    "verl": Adapter(package="verl", play=verl_player, tokens=with_tokens),
}
