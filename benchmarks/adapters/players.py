"""Plays scripted episodes through the adapters, each with its real framework.

A player is a context manager that yields a function from a `Script` to what the framework returned.
Frameworks are imported when a player starts.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.adapters.episodes import (
    Play,
    Played,
    Script,
    gymnasium_player,
    make_scripts,
    plain_reset,
)
from benchmarks.adapters.tokens import MAX_TOKENS, policy_codec, turn_ids, with_tokens
from benchmarks.adapters.trl_players import trl_player, trl_reset, trl_rollouts_player
from benchmarks.adapters.verifiers_players import (
    verifiers_player,
    verifiers_reset,
    verifiers_v0_player,
)
from envs_registry.shared_environment import shared_environment
from envs_registry.verl import verl_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter and how it is compared.

    Attributes:
        package: the framework's distribution.
        play: the player.
        tools_prompt: of an adapter with tools, whose scripts have only the valid actions; None for
            an adapter that takes texts.
        reset: arguments of the reset of the same episode in the plain environment.
        tokens: adds the expected ids and mask; None if the framework exposes none.
    """

    package: str
    play: Callable[[], AbstractContextManager[Play]]
    tools_prompt: str | None = None
    reset: Callable[[Script], dict[str, Any]] = plain_reset
    tokens: Callable[[Script, Played], Played] | None = None


@contextmanager
def verl_player() -> Iterator[Play]:
    """Play through the agent loop, with a scripted server that generates past the closing tags."""
    from hydra import compose, initialize_config_module
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap
    from verl.utils.dataset.rl_dataset import RLHFDataset
    from verl.workers.rollout.replica import TokenOutput

    from agents.llm.policy.location import TINY_POLICY
    from agents.llm.verl.agent_loop import ZeroSearchAgentLoop

    codec = policy_codec()
    with initialize_config_module("verl.trainer.config", version_base=None):
        overrides = {
            "actor_rollout_ref.model.path": str(TINY_POLICY),
            "actor_rollout_ref.rollout.name": "vllm",
            "data.max_prompt_length": MAX_TOKENS,
            "data.max_response_length": MAX_TOKENS,
        }
        config = compose("ppo_trainer", [f"{name}={value}" for name, value in overrides.items()])

    class Server:
        def __init__(self, script: Script) -> None:
            self.texts = iter(script.texts)

        async def generate(self, request_id: str, *, prompt_ids: Any, **_: Any) -> TokenOutput:
            token_ids = turn_ids(next(self.texts))
            return TokenOutput(token_ids=list(token_ids), log_probs=[0.0] * len(token_ids))

    async def run(script: Script) -> Any:
        loop = ZeroSearchAgentLoop(
            DictConfigWrap(config),
            Server(script),
            codec.tokenizer,
            None,
            RLHFDataset,
            DictConfigWrap(config.data),
            environments={script.spec: dict(script.environment)},
            max_new_tokens=MAX_TOKENS,
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
            key = script.spec
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
    from skyrl_gym.envs import deregister

    from envs_registry.skyrl import ENV_CLASS, EpisodeFailed, register_environment

    register_environment({one.spec: dict(one.environment) for one in make_scripts()})

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

    try:
        yield play
    finally:
        deregister(ENV_CLASS)


def _verl_row(script: Script) -> dict[str, Any]:
    """Return the row of an episode, for verl and SkyRL."""
    return verl_row(
        shared_environment(script.spec).make(),
        script.question_index,
        data_source=script.spec,
        noise_probability=script.noise_probability,
        seed=script.seed,
    )


ADAPTERS: dict[str, Adapter] = {
    "gymnasium": Adapter(package="gymnasium", play=gymnasium_player),
    "openenv": Adapter(package="openenv", play=openenv_player),
    "skyrl": Adapter(package="skyrl-gym", play=skyrl_player),
    "trl": Adapter(package="trl", play=trl_player, tools_prompt="tool_calls", reset=trl_reset),
    "trl-rollouts": Adapter(package="trl", play=trl_rollouts_player, tokens=with_tokens),
    "verifiers": Adapter(package="verifiers", play=verifiers_player, reset=verifiers_reset),
    "verifiers-v0": Adapter(package="verifiers", play=verifiers_v0_player, reset=verifiers_reset),
    "verl": Adapter(package="verl", play=verl_player, tokens=with_tokens),
}
