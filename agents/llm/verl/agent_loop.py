"""An agent loop for verl: one coroutine plays one episode on verl's servers.

verl's configuration names it (`actor_rollout_ref.rollout.agent.agent_loop_config_path`), so verl
imports it and not the other way round. Written against verl 0.9; token ids, mask and reward are
those of our own rollouts.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from omegaconf import OmegaConf  # type: ignore[import-not-found]
from verl.experimental.agent_loop.agent_loop import (  # type: ignore[import-not-found]
    AgentLoopBase,
)
from verl.utils.fs import copy_to_local  # type: ignore[import-not-found]
from verl.utils.model import get_generation_config  # type: ignore[import-not-found]

from agents.llm.generators.base import Generation
from agents.llm.policy.stopping import CLOSING_TAGS, StopRule
from agents.llm.policy.text_codec import TextCodec, as_ids
from agents.llm.rollout.episode_record import EpisodeRecord
from agents.llm.rollout.episode_seeds import group_seeds
from agents.llm.verl.output import EpisodeTally, episode_output, turn_logprobs
from envs_registry.verl import SharedEnvironment
from zs_env.env import ZeroSearchEnv
from zs_env.text.suggestions import unknown_name

_LOGGER = logging.getLogger(__name__)
# Searches of a worker process that may wait for their pages; its event loop goes on meanwhile.
_THREADS = ThreadPoolExecutor(256, thread_name_prefix="zerosearch")
_BUILDING = Lock()


class _Void(Exception):
    """The episode says nothing about the policy."""


class ZeroSearchAgentLoop(AgentLoopBase):
    """Plays the question of a row that `envs_registry.verl.verl_row` made.

    A void episode (its engine failed, or the server aborted a turn) reaches no loss and no
    statistic: verl's trainer gets nothing for it, and its group is the smaller. The older trainers,
    which number no sessions, need something for each row; they get the tokens with a mask of zeros
    and reward 0, which trains nothing but does count in the group's mean.

    Args:
        arguments: of `AgentLoopBase`, which verl gives.
        environments: by the rows' `data_source`; see `SharedEnvironment` for their fields. Their
            questions and engines are shared by all episodes of a worker process.
        max_new_tokens: longest turn, in tokens.
        seed: of the episodes whose row has none of its own; they differ from step to step.
        share_group_seed: whether the episodes of a group meet the same pages for the same queries.
        settings: further arguments of `AgentLoopBase`.
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
        self._environments = _as_values(environments)
        self._max_new_tokens = max_new_tokens
        self._seed = seed
        self._share_luck = share_group_seed
        self._codec, self._rule = _reader(self.tokenizer, self.config.actor_rollout_ref.model.path)

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> Any:
        """Play an episode.

        Args:
            sampling_params: of verl's server; the stops and the length of a turn are added.
            row: of the data set: `data_source` and `extra_info`; from the trainer `global_steps`
                and `session_id`, the episode's place in its group.

        Returns:
            An `AgentLoopOutput`, or an empty list for a void episode.

        Raises:
            ValueError: if the row belongs to other questions, or its prompt is too long.
        """
        record, tally = EpisodeRecord(), EpisodeTally()
        env, message = await _in_thread(lambda: self._start(row))
        try:
            record.begin(self._encode_prompt(message))
            await self._play(env, record, tally, sampling_params, int(row.get("priority", 0)))
            rollout = record.rollout(env.transcript())
            if rollout.transcript.failure is not None:
                raise _Void(rollout.transcript.failure)
            return episode_output(rollout, tally, bool(sampling_params.get("logprobs")))
        except _Void as void:
            _LOGGER.warning("a void episode of %s: %s", row.get("extra_info"), void)
            if "session_id" in row:
                return []
            rollout = record.rollout(env.transcript())
            output = episode_output(rollout, tally, bool(sampling_params.get("logprobs")))
            return self._untrained(output)
        finally:
            env.close()

    async def _play(
        self,
        env: ZeroSearchEnv,
        record: EpisodeRecord,
        tally: EpisodeTally,
        sampling_params: Mapping[str, Any],
        priority: int,
    ) -> None:
        over = False
        while not over:
            text = ""
            if not record.context_full:
                with tally.timed("generating_s"):
                    turn = await self._generate(record, tally, sampling_params, priority)
                record.take(turn)
                text = self._codec.decode_action(turn.token_ids)
            with tally.timed("searching_s"):
                step = await _in_thread(lambda text=text: env.step(text))
            observation, _, terminated, truncated, _ = step
            over = terminated or truncated
            if not over:
                record.hear(self._codec.encode_environment(observation["message"]))

    def _start(self, row: Mapping[str, Any]) -> tuple[ZeroSearchEnv, str]:
        """Return the environment of a row's episode and what it says first."""
        name, info = str(row["data_source"]), row["extra_info"]
        if name not in self._environments:
            raise unknown_name("data_source", name, self._environments)
        env = _shared_environment(json.dumps(self._environments[name], sort_keys=True)).make()
        index, step = int(info["index"]), int(row.get("global_steps", 0))
        member, seed = int(row.get("session_id", 0)), info.get("seed")
        if seed is None:
            entropy = (self._seed, step, index)
            seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        seeds = group_seeds(int(seed), max(int(self.rollout_config.n), member + 1))[member]
        # verl counts its steps from 1.
        options = {"question_index": index, "training_step": max(step - 1, 0)}
        if info.get("noise_probability") is not None:
            options["noise_probability"] = info["noise_probability"]
        if self._share_luck:
            options["group_seed"] = seeds.group
        observation, described = env.reset(seed=seeds.environment, options=options)
        if described["question_id"] != info["question_id"]:
            raise ValueError(
                f"question {index} of environment {name!r} is {described['question_id']!r}, the "
                f"row says {info['question_id']!r}; write the rows again, from these questions"
            )
        return env, observation["message"]

    def _encode_prompt(self, message: str) -> tuple[int, ...]:
        prompt, limit = self._codec.encode_prompt(message), self.rollout_config.prompt_length
        if len(prompt) > limit:
            raise ValueError(
                f"a prompt has {len(prompt)} tokens, more than data.max_prompt_length={limit}; "
                "raise it"
            )
        if self._room(len(prompt), len(prompt)) < 1:
            raise ValueError(
                f"a prompt of {len(prompt)} tokens leaves no room for a turn; raise "
                "actor_rollout_ref.rollout.max_model_len or data.max_response_length"
            )
        return prompt

    async def _generate(
        self,
        record: EpisodeRecord,
        tally: EpisodeTally,
        sampling_params: Mapping[str, Any],
        priority: int,
    ) -> Generation:
        token_ids = record.token_ids()
        room = self._room(len(token_ids), len(record.segments[0].token_ids))
        if room < 1:
            return Generation(token_ids=(), logprobs=(), stop_reason="context")
        limit = min(self._max_new_tokens, room)
        output = await self.server_manager.generate(
            request_id=tally.request_id,
            prompt_ids=token_ids,
            sampling_params={**sampling_params, **self._stops(), "max_tokens": limit},
            priority=priority,
        )
        if output.stop_reason in ("abort", "aborted") or not output.token_ids:
            raise _Void(f"the server wrote nothing more ({output.stop_reason})")
        tally.add(output)
        turn, reason = self._rule.cut(output.token_ids[:limit])
        return Generation(
            token_ids=turn,
            logprobs=turn_logprobs(output, len(turn), asked=bool(sampling_params.get("logprobs"))),
            stop_reason=reason or ("context" if len(turn) >= room else "length"),
        )

    def _room(self, num_tokens: int, num_prompt: int) -> int:
        """Tokens that the policy may still write."""
        room = self.rollout_config.response_length - (num_tokens - num_prompt)
        longest = self.rollout_config.get("max_model_len")
        return room if longest is None else min(room, longest - num_tokens)

    def _stops(self) -> dict[str, Any]:
        """Sampling parameters that end a turn early; what comes after its end is cut anyway."""
        if self.rollout_config.name != "vllm":
            return {}
        return {
            "stop": list(CLOSING_TAGS),
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
        }

    def _untrained(self, output: Any) -> Any:
        """The same episode with a mask of zeros and no reward."""
        response = output.response_ids or [self._codec.pad_token_id]
        output.response_ids = response
        output.response_mask = [0] * len(response)
        if output.response_logprobs is not None:
            output.response_logprobs = [0.0] * len(response)
        output.reward_score = 0.0
        return output


async def _in_thread(call: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, call)


def _as_values(config: Any) -> Any:
    """Plain values of a configuration, its interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def _shared_environment(spec: str) -> SharedEnvironment:
    # The first episodes of a worker all come at once.
    with _BUILDING:
        return _build_environment(spec)


@lru_cache(maxsize=32)
def _build_environment(spec: str) -> SharedEnvironment:
    return SharedEnvironment(json.loads(spec))


@lru_cache(maxsize=4)
def _reader(tokenizer: Any, model_path: str) -> tuple[TextCodec, StopRule]:
    """What reads and ends turns, made once per process: it looks through the whole vocabulary."""
    generation = get_generation_config(copy_to_local(model_path))
    stops = as_ids(None if generation is None else generation.eos_token_id)
    codec = TextCodec(tokenizer, name=model_path, model_stop_ids=stops)
    return codec, StopRule(codec)
