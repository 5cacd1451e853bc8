"""The environment for verifiers 0.4: tasks, the environment that plays them, and its harness.

verifiers finds them in the module `zerosearch_gym`: `vf-eval zerosearch-gym`. The pages of a search
are user messages of the chat. Importing this module needs the extra `verifiers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import fields
from typing import Any

try:
    import openai  # type: ignore[import-not-found]
    import verifiers.v1 as vf  # type: ignore[import-not-found]
    from verifiers.v1.dialects.chat import message_to_wire  # type: ignore[import-not-found]
except ImportError as error:
    raise ImportError(
        "envs_registry.verifiers needs verifiers 0.4: pip install 'zerosearch-gym[verifiers]'"
    ) from error

from envs_registry.chat_episodes import EpisodeSettings, act, summary

_INFO = "zerosearch"
_FIELDS = [one for one in fields(EpisodeSettings) if one.init]


class SearchTasksetConfig(vf.TasksetConfig):
    """Questions and episodes, see `EpisodeSettings`; on the command line under `--env.taskset`."""

    environment: dict[str, Any] = {"id": "ZeroSearch-v0"}  # noqa: RUF012 - pydantic copies it
    noise_probability: float | None = None
    training_step: int = 0
    episodes_per_step: int | None = None
    seed: int = 0
    share_group_seed: bool = False

    def episodes(self) -> EpisodeSettings:
        """Return the environment and the settings of its episodes."""
        return EpisodeSettings(**{one.name: getattr(self, one.name) for one in _FIELDS})


class SearchTaskData(vf.TaskData):
    """A question.

    Attributes:
        question_index: of the question in the environment.
    """

    question_index: int


class SearchTask(vf.Task[SearchTaskData, vf.State, vf.TaskConfig]):
    """A question with the rewards and metrics of its episode."""

    @vf.reward
    async def reward_terms(self, trace: vf.Trace) -> Mapping[str, float]:
        """The terms of the environment's reward."""
        return trace.info[_INFO]["reward_terms"]

    @vf.metric
    async def scores(self, trace: vf.Trace) -> Mapping[str, float]:
        """Scores of the answer, number of searches and noise probability."""
        return trace.info[_INFO]["metrics"]


class SearchTaskset(vf.Taskset[SearchTask, SearchTasksetConfig]):
    """The questions of an environment, in their order."""

    def load(self) -> Iterator[SearchTask]:
        """Yield the questions with the environment's prompts."""
        env = self.config.episodes().make()
        for index in range(env.num_questions):
            _, info = env.reset(options={"question_index": index})
            data = SearchTaskData(
                id=info["question_id"], prompt=env.transcript().prompt, question_index=index
            )
            yield SearchTask(data, self.config.task)


class SearchHarness(vf.Harness[vf.HarnessConfig]):
    """One chat completion a turn, in process: no sandbox and no second interpreter."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Request the next message of the conversation; verifiers records it."""
        system, prompt = self.resolve_prompt(data)
        messages = [] if system is None else [{"role": "system", "content": system}]
        if isinstance(prompt, str):
            messages.append({"role": "user", "content": prompt})
        else:
            messages += map(message_to_wire, prompt or [])
        async with openai.AsyncOpenAI(base_url=endpoint, api_key=secret) as client:
            await client.chat.completions.create(model=ctx.model, messages=messages)
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")


class SearchEnvConfig(vf.EnvConfig):
    """The agent that plays. It needs no sandbox."""

    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class SearchEnv(vf.Env[SearchEnvConfig]):
    """Plays the question of a task; a failed engine or judge is an error of the episode.

    verifiers gives an episode with an error no reward and leaves it out of its means.
    """

    def __init__(self, config: SearchEnvConfig) -> None:
        super().__init__(config)
        self.episodes = config.taskset.episodes()

    async def run(self, task: SearchTask, agents: vf.Agents) -> None:
        """Play one episode.

        Raises:
            RuntimeError: if the search engine, or the judge of the reward, failed.
        """
        env, settings = self.episodes.make(), self.episodes.reset_settings(task.data.question_index)
        with closing(env):
            async with agents.agent.interaction(task) as interaction:
                await asyncio.to_thread(env.reset, **settings)
                segment = await interaction.turn()
                while not segment.terminated:
                    message = await asyncio.to_thread(act, env, segment.last_reply)
                    if message is None:
                        break
                    segment = await interaction.turn(message)
                # A limit of verifiers ended the conversation: the remaining turns are empty.
                while segment.terminated and act(env, "") is not None:
                    pass
                transcript = env.transcript()
                if transcript.failure is not None:
                    raise RuntimeError(f"the episode failed: {transcript.failure}")
                interaction.trace.info[_INFO] = summary(transcript)
