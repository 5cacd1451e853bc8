"""An agent loop for verl 0.9: one coroutine plays one episode with verl's servers.

verl imports this module; its configuration names the class in
`actor_rollout_ref.rollout.agent.agent_loop_config_path`. Token ids, mask and reward are the same as
in `collect_rollouts`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any
from uuid import uuid4

import numpy as np
from omegaconf import OmegaConf  # type: ignore[import-not-found]
from verl.experimental.agent_loop.agent_loop import (  # type: ignore[import-not-found]
    AgentLoopBase,
    AgentLoopMetrics,
    AgentLoopOutput,
)
from verl.utils.fs import copy_to_local  # type: ignore[import-not-found]
from verl.utils.model import get_generation_config  # type: ignore[import-not-found]

from agents.llm.generators.base import Generation
from agents.llm.policy.stopping import StopRule
from agents.llm.policy.text_codec import TextCodec, as_ids
from agents.llm.rollout.question_order import group_seeds
from agents.llm.rollout.types import Rollout, TokenEpisode
from envs_registry.shared_environment import shared_environment
from zs_env.actions import DEFAULT_TOOLS, Tool, build_tools
from zs_env.env import ZeroSearchEnv
from zs_env.text.suggestions import unknown_name

_LOGGER = logging.getLogger(__name__)
# Environment steps that may block at the same time; the event loop of the worker stays free.
_THREADS = ThreadPoolExecutor(256, thread_name_prefix="zerosearch")
_BUILDING = Lock()


@dataclass(slots=True)
class _Stats:
    """Times of an episode and the weights that generated its turns.

    Attributes:
        generating_s: seconds spent in generation.
        searching_s: seconds spent in environment steps.
        num_preempted: number of preemptions on the servers; -1 if unknown.
        first_version: trainer step of the weights that generated the first turn.
        last_version: trainer step of the weights that generated the last turn.
    """

    generating_s: float = 0.0
    searching_s: float = 0.0
    num_preempted: int = -1
    first_version: int | None = None
    last_version: int | None = None

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes to attribute `name`."""
        started = time.perf_counter()
        yield
        setattr(self, name, getattr(self, name) + time.perf_counter() - started)

    def add(self, output: Any) -> None:
        """Record the weights and preemptions of a turn."""
        fields = output.extra_fields
        if self.first_version is None:
            self.first_version = fields.get("min_global_steps", fields.get("global_steps"))
        self.last_version = fields.get("max_global_steps", fields.get("global_steps"))
        if output.num_preempted is not None:
            self.num_preempted = max(self.num_preempted, 0) + output.num_preempted


class _EpisodeFailed(Exception):
    """The episode must not be trained on."""


class ZeroSearchAgentLoop(AgentLoopBase):
    """Plays the question of a dataset row made by `envs_registry.verl.verl_row`.

    An episode fails if its engine fails or the server aborts a turn. A failed episode enters no
    loss and no statistic: the loop returns nothing, and the group is smaller by one. Older trainers
    of verl pass no `session_id` and need an output for each row. They get the tokens with a mask of
    zeros and reward 0, which trains nothing but counts in the mean reward of the group.

    Args:
        arguments: arguments of `AgentLoopBase`, passed by verl.
        environments: specs by the rows' `data_source`; see
            `envs_registry.shared_environment.SharedEnvironment`. All episodes of a
            worker process share their questions and engines.
        max_new_tokens: longest turn, in tokens.
        seed: for rows without a seed; their episodes differ between steps.
        share_group_seed: whether all episodes of a group get the same pages for the same queries.
        settings: keyword arguments of `AgentLoopBase`.
    """

    def __init__(
        self,
        *arguments: Any,
        environments: Mapping[str, Any],
        max_new_tokens: int = 512,
        seed: int = 0,
        share_group_seed: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self._environments: Any = environments
        if OmegaConf.is_config(environments):  # plain values, with interpolations resolved
            self._environments = OmegaConf.to_container(environments, resolve=True)
        self._max_new_tokens = max_new_tokens
        self._seed = seed
        self._share_group_seed = share_group_seed
        self._codec, self._stop_rule = _load_codec(
            self.tokenizer, self.config.actor_rollout_ref.model.path, _tools(self._environments)
        )

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> Any:
        """Play an episode.

        Args:
            sampling_params: of verl's server; stop strings and `max_tokens` are added.
            row: `data_source` and `extra_info` from the dataset; `global_steps` and `session_id`
                (number of the episode in its group) from the trainer.

        Returns:
            An `AgentLoopOutput`, or an empty list if the episode failed.

        Raises:
            ValueError: if the row was made from other questions, or its prompt is too long.
        """
        episode, stats = TokenEpisode(), _Stats()
        has_logprobs = bool(sampling_params.get("logprobs"))
        env, message = await _in_thread(lambda: self._start(row))
        try:
            episode.append_prompt(self._encode_prompt(message))
            # One server keeps the cache of the episode, by its request_id.
            request = {"request_id": uuid4().hex, "priority": int(row.get("priority", 0))}
            await self._play(env, episode, stats, sampling_params, **request)
            episode.transcript = transcript = env.transcript()
            if transcript.failure is not None:
                raise _EpisodeFailed(transcript.failure)
            return _episode_output(episode.rollout(), stats, has_logprobs)
        except _EpisodeFailed as failure:
            _LOGGER.warning("the episode of %s failed: %s", row.get("extra_info"), failure)
            if "session_id" in row:
                return []
            episode.transcript = env.transcript()
            return self._untrained(_episode_output(episode.rollout(), stats, has_logprobs))
        finally:
            env.close()

    async def _play(
        self,
        env: ZeroSearchEnv,
        episode: TokenEpisode,
        stats: _Stats,
        sampling_params: Mapping[str, Any],
        **request: Any,
    ) -> None:
        over = False
        while not over:
            text = ""
            if not episode.context_full:
                with stats.timed("generating_s"):
                    turn = await self._generate(episode, stats, sampling_params, **request)
                episode.append_action(turn)
                text = self._codec.decode_action(turn.token_ids)
            with stats.timed("searching_s"):
                step = await _in_thread(lambda text=text: env.step(text))
            observation, _, terminated, truncated, _ = step
            over = terminated or truncated
            if not over:
                episode.append_observation(self._codec.encode_environment(observation["message"]))

    def _start(self, row: Mapping[str, Any]) -> tuple[ZeroSearchEnv, str]:
        """Return the environment of a row's episode and its first message."""
        name, info = str(row["data_source"]), row["extra_info"]
        if name not in self._environments:
            raise unknown_name("data_source", name, self._environments)
        spec = json.dumps(self._environments[name], sort_keys=True)
        # The first episodes of a worker start at the same time; only one builds the environment.
        with _BUILDING:
            environment = shared_environment(spec)
        env = environment.make()
        index, step = int(info["index"]), int(row.get("global_steps", 0))
        member, seed = int(row.get("session_id", 0)), info.get("seed")
        if seed is None:
            entropy = (self._seed, step, index)
            seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        group_size = max(int(self.rollout_config.n), member + 1)
        environment_seed, _, group_seed = group_seeds(int(seed), group_size)[member]
        # verl counts its steps from 1.
        options = {"question_index": index, "training_step": max(step - 1, 0)}
        if info.get("noise_probability") is not None:
            options["noise_probability"] = info["noise_probability"]
        if self._share_group_seed:
            options["group_seed"] = group_seed
        observation, reset_info = env.reset(seed=environment_seed, options=options)
        if reset_info["question_id"] != info["question_id"]:
            raise ValueError(
                f"question {index} of environment {name!r} is {reset_info['question_id']!r}, but "
                f"the row expects {info['question_id']!r}; write the rows again with `zerosearch "
                "verl-rows` from the questions of this environment"
            )
        return env, observation["message"]

    def _encode_prompt(self, message: str) -> tuple[int, ...]:
        prompt, limit = self._codec.encode_prompt(message), self.rollout_config.prompt_length
        if len(prompt) > limit:
            raise ValueError(
                f"a prompt has {len(prompt)} tokens, expected at most "
                f"data.max_prompt_length={limit}; raise it"
            )
        if self._room(len(prompt), len(prompt)) < 1:
            raise ValueError(
                f"a prompt of {len(prompt)} tokens leaves no room for a turn; raise "
                "actor_rollout_ref.rollout.max_model_len or data.max_response_length"
            )
        return prompt

    async def _generate(
        self,
        episode: TokenEpisode,
        stats: _Stats,
        sampling_params: Mapping[str, Any],
        **request: Any,
    ) -> Generation:
        token_ids = episode.token_ids
        room = self._room(len(token_ids), len(episode.segments[0].token_ids))
        if room < 1:
            return Generation(token_ids=(), logprobs=(), stop_reason="context")
        limit = min(self._max_new_tokens, room)
        output = await self.server_manager.generate(
            prompt_ids=token_ids,
            sampling_params={**sampling_params, **self._stops(), "max_tokens": limit},
            **request,
        )
        if output.stop_reason in ("abort", "aborted") or not output.token_ids:
            raise _EpisodeFailed(f"the server aborted a turn ({output.stop_reason})")
        stats.add(output)
        turn, reason = self._stop_rule.cut(output.token_ids[:limit])
        logprobs = (0.0,) * len(turn)
        if sampling_params.get("logprobs"):
            if output.log_probs is None:
                raise ValueError(
                    "the server returned no logprobs; set "
                    "actor_rollout_ref.rollout.calculate_log_probs=False or use a server that "
                    "returns them"
                )
            logprobs = tuple(output.log_probs[: len(turn)])
        return Generation(
            token_ids=turn,
            logprobs=logprobs,
            stop_reason=reason or ("context" if len(turn) >= room else "length"),
        )

    def _room(self, num_tokens: int, num_prompt: int) -> int:
        """Number of tokens that the policy may still generate."""
        room = self.rollout_config.response_length - (num_tokens - num_prompt)
        longest = self.rollout_config.get("max_model_len")
        return room if longest is None else min(room, longest - num_tokens)

    def _stops(self) -> dict[str, Any]:
        """Sampling parameters that end a turn at a closing tag; `_generate` cuts the rest off."""
        if self.rollout_config.name != "vllm":
            return {}
        return {
            "stop": list(self._stop_rule.tags),
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
        }

    def _untrained(self, output: Any) -> Any:
        """The same episode with a mask of zeros and reward 0."""
        response = output.response_ids or [self._codec.pad_token_id]
        output.response_ids = response
        output.response_mask = [0] * len(response)
        if output.response_logprobs is not None:
            output.response_logprobs = [0.0] * len(response)
        output.reward_score = 0.0
        return output


def _episode_output(rollout: Rollout, stats: _Stats, has_logprobs: bool) -> Any:
    """Return the episode for verl: the prompt, and everything after it as the response."""
    prompt = rollout.segments[0].token_ids
    start, transcript = len(prompt), rollout.transcript
    return AgentLoopOutput(
        prompt_ids=list(prompt),
        response_ids=list(rollout.token_ids[start:]),
        response_mask=[int(acted) for acted in rollout.action_mask[start:]],
        response_logprobs=list(rollout.logprobs[start:]) if has_logprobs else None,
        reward_score=float(rollout.reward),
        num_turns=len(rollout.segments),
        metrics=AgentLoopMetrics(
            generate_sequences=stats.generating_s,
            tool_calls=stats.searching_s,
            num_preempted=stats.num_preempted,
        ),
        extra_fields={
            "turn_scores": [],
            "tool_rewards": [],
            "global_steps": stats.last_version,
            "min_global_steps": stats.first_version,
            "max_global_steps": stats.last_version,
            "reward_extra_info": {
                **transcript.scores(),
                "num_searches": transcript.num_searches,
                "num_opens": transcript.num_opens,
                "noise_probability": transcript.noise_probability,
            },
        },
    )


async def _in_thread(call: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, call)


@lru_cache(maxsize=4)
def _load_codec(
    tokenizer: Any, model_path: str, tools: tuple[Tool, ...]
) -> tuple[TextCodec, StopRule]:
    """Codec and stop rule, cached per process: the stop rule scans the whole vocabulary."""
    generation = get_generation_config(copy_to_local(model_path))
    stops = as_ids(None if generation is None else generation.eos_token_id)
    codec = TextCodec(tokenizer, name=model_path, model_stop_ids=stops, tools=tools)
    return codec, StopRule(codec)


def _tools(environments: Mapping[str, Any]) -> tuple[Tool, ...]:
    """Return the tools of all environments together."""
    specs = environments.values()
    tools = (build_tools(one.get("tools", DEFAULT_TOOLS)) for one in specs)
    return build_tools([tool for some in tools for tool in some])
