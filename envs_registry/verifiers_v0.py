"""The environment for verifiers before 0.4, whose environments are made by `load_environment`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing
from importlib import import_module
from typing import Any

try:
    from datasets import Dataset

    # A type checker would take the name for the module beside this one.
    vf: Any = import_module("verifiers")
except ImportError as error:
    raise ImportError(
        "envs_registry.verifiers_v0 needs verifiers 0.3: pip install 'verifiers<0.4'"
    ) from error

from envs_registry.chat_episodes import EpisodeSettings, act, summary

_METRICS = ("f1", "exact_match", "cover_match", "num_searches", "noise_probability")


class SearchMultiTurnEnv(vf.MultiTurnEnv):
    """Plays a question as a chat; a failed engine or judge is an error of the rollout.

    Args:
        episodes: the environment and the settings of its episodes.
        settings: arguments of `vf.MultiTurnEnv`. The `info` of a row of its data set holds the
            `question_index`.
    """

    def __init__(self, episodes: EpisodeSettings, **settings: Any) -> None:
        self.episodes = episodes
        super().__init__(**settings)

    async def setup_state(self, state: Any) -> Any:
        """Start the episode."""
        env = self.episodes.make()
        settings = self.episodes.reset_settings(int(state["info"]["question_index"]))
        await asyncio.to_thread(env.reset, **settings)
        state["search_env"] = env
        return state

    async def env_response(self, messages: Any, state: Any, **_: Any) -> Any:
        """Act with the last message and return the environment's message.

        Raises:
            vf.InfraError: if the search engine, or the judge of the reward, failed.
        """
        env = state["search_env"]
        state["num_acted"] = len(state["trajectory"])
        message = await asyncio.to_thread(act, env, _text(messages))
        if message is not None:
            return [vf.UserMessage(content=message)]
        self._record(state)
        state["final_env_response"] = []
        return []

    @vf.cleanup
    async def finish(self, state: Any) -> None:
        """Play what a limit of verifiers cut off: the last message, then empty turns."""
        env = state.get("search_env")
        if env is None:
            return
        with closing(env):
            if state.get("error") or state.get("timed_out") or "zerosearch" in state:
                return
            steps = state["trajectory"]
            text = _text(steps[-1]["completion"]) if len(steps) > state.get("num_acted", 0) else ""
            while await asyncio.to_thread(act, env, text) is not None:
                text = ""
            try:
                self._record(state)
            except vf.Error as error:
                state["error"] = error

    def _record(self, state: Any) -> None:
        """Keep the result of the ended episode."""
        transcript = state["search_env"].transcript()
        if transcript.failure is not None:
            raise vf.InfraError(f"the episode failed: {transcript.failure}")
        state["zerosearch"] = summary(transcript)


def load_environment(
    environment: Mapping[str, Any] | None = None, num_questions: int = 1000, **settings: Any
) -> SearchMultiTurnEnv:
    """Return the environment; verifiers calls this by the module's name, `zerosearch_gym`.

    Args:
        environment: `id`, and arguments of the environment as JSON values.
        num_questions: number of questions of the data set, from the first.
        settings: further attributes of `EpisodeSettings`.

    Raises:
        ValueError: if the environment is wrong.
        TypeError: if a setting is unknown.
    """
    episodes = EpisodeSettings(environment=environment or {"id": "ZeroSearch-v0"}, **settings)
    env = episodes.make()
    rows = []
    for index in range(min(num_questions, env.num_questions)):
        observation, _ = env.reset(options={"question_index": index})
        message = {"role": "user", "content": observation["message"]}
        rows.append({"prompt": [message], "info": {"question_index": index}})
    rubric = vf.Rubric(funcs=[_reward])
    for name in _METRICS:
        rubric.add_metric(_metric(name))
    return SearchMultiTurnEnv(episodes, dataset=Dataset.from_list(rows), rubric=rubric)


def _text(messages: Any) -> str:
    """Return the text of the last message."""
    return str(messages[-1].content or "")


async def _reward(state: Any) -> float:
    """Sum of the terms of the environment's reward; verifiers asks for it after an error too."""
    return sum(state.get("zerosearch", {}).get("reward_terms", {}).values(), 0.0)


def _metric(name: str) -> Callable[..., Any]:
    async def metric(state: Any) -> float:
        return state.get("zerosearch", {}).get("metrics", {}).get(name, 0.0)

    metric.__name__ = name
    return metric
