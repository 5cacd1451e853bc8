"""GRPO of TRL 1.16 on our episodes: a `rollout_func` that plays the tag format, and its reward.

The episodes are those of `collect_rollouts`: the ids that the policy sampled are the ids that TRL
trains, and TRL's mask is 0 for tokens of the environment.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from transformers import TrainerCallback

from agents.env_pool import open_vector
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.rollout.types import Rollout
from envs_registry.shared_environment import check_scheduled_noise
from envs_registry.trl import SearchTools, read_prompt
from zs_env.vector_env import ZeroSearchVectorEnv

_LOGGER = logging.getLogger(__name__)
# TRL's settings of sampling that our generator does not have, and their neutral values.
_NEUTRAL = {
    "use_vllm": (False,),
    "top_p": (1.0,),
    "top_k": (0, None),
    "min_p": (None, 0.0),
    "repetition_penalty": (1.0,),
}


def episode_reward(reward: Sequence[float | None], **_: Any) -> list[float | None]:
    """The reward function of `SearchRollouts`: None for an episode whose engine or judge failed.

    TRL leaves a None out of the mean and the standard deviation of its group and gives it the
    advantage 0.

    Args:
        reward: the column `reward` of `SearchRollouts`, one value for each episode.
    """
    return list(reward)


class SearchRollouts:
    """The `rollout_func` of `GRPOTrainer` for rows of `envs_registry.trl.trl_row`.

    The policy writes `<search>` and `<answer>` tags. The turns are sampled by
    `TransformersGenerator` from the trainer's model, which must be whole in every process: with
    DDP, but not with FSDP, DeepSpeed ZeRO-3 or vLLM. An episode is as long as its turns and pages;
    `max_completion_length` does not cut it.

    Args:
        environment: `id`, and arguments of the environment as JSON values.
        max_new_tokens: longest turn, in tokens, at least 1.
        seed: for rows without a seed; their episodes differ between steps.
        share_group_seed: whether all episodes of a group get the same pages for the same queries.

    Attributes:
        rollouts: the episodes of the last call, in the order of its prompts.

    Raises:
        ValueError: if the noise of the environment follows the rewards.
    """

    def __init__(
        self,
        environment: Mapping[str, Any],
        *,
        max_new_tokens: int = 512,
        seed: int = 0,
        share_group_seed: bool = False,
    ) -> None:
        check_scheduled_noise(environment)
        self._environment = dict(environment)
        self._max_new_tokens = max_new_tokens
        self._seed = seed
        self._share_group_seed = share_group_seed
        self._vector_env: ZeroSearchVectorEnv | None = None
        self._generator: TransformersGenerator | None = None
        self.rollouts: list[Rollout] = []

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, list[Any]]:
        """Play one episode for each prompt.

        Args:
            prompts: of the rows, each `num_generations` times in a row.
            trainer: the `GRPOTrainer`.

        Returns:
            What TRL expects of E episodes: `prompt_ids` [E][P], and [E][C] each `completion_ids`,
            `logprobs` (nats, of the sampling policy; 0 for tokens of the environment) and
            `env_mask` (1 for tokens of the policy; all 0 for a failed episode). `reward` [E] is for
            `episode_reward`.

        Raises:
            ValueError: if the trainer samples in a way that is not supported, the prompts of this
                process hold no whole groups, or a prompt names no question.
        """
        _check_sampling(trainer)
        is_training = trainer.model.training
        size = trainer.num_generations if is_training else trainer.num_generations_eval
        if len(prompts) % size:
            raise ValueError(
                f"got {len(prompts)} prompts in a process, expected a multiple of the "
                f"{size} generations of each; raise per_device_train_batch_size or "
                "steps_per_generation"
            )
        step = trainer.state.global_step
        rows = [read_prompt(prompt, seed=self._seed, step=step) for prompt in prompts[::size]]
        self.rollouts = []
        for noise_probability, chunk in groupby(rows, key=lambda row: row[1]):
            indices, _, seeds = zip(*chunk, strict=True)
            vector_env, generator = self._prepare(len(prompts), trainer)
            groups = collect_rollouts(
                vector_env,
                generator.policy,
                generator,
                question_indices=indices,
                seeds=seeds,
                group_size=size,
                sampling=Sampling(
                    temperature=trainer.temperature, max_new_tokens=self._max_new_tokens
                ),
                noise_probability=noise_probability,
                training_step=step,
                share_group_seed=self._share_group_seed,
            )
            self.rollouts += [rollout for group in groups for rollout in group.rollouts]
        return _columns(self.rollouts, pad_token_id=generator.policy.codec.pad_token_id)

    def _prepare(
        self, num_episodes: int, trainer: Any
    ) -> tuple[ZeroSearchVectorEnv, TransformersGenerator]:
        """The vector environment, and the generator with the trainer's current weights."""
        if self._vector_env is None or self._generator is None:
            settings = dict(self._environment)
            self._vector_env = open_vector(settings.pop("id"), num_episodes, settings)
            policy = Policy(trainer.model, trainer.processing_class, trainer.model.name_or_path)
            if "tools" in settings:  # their closing tags end a turn
                policy.set_tools(settings["tools"])
            self._generator = TransformersGenerator(policy)
        self._generator.load_weights()
        return self._vector_env, self._generator


class TrainingStep(TrainerCallback):
    """A callback that passes the trainer's step to the noise schedule of `SearchTools`.

    Args:
        tools: the class given as `environment_factory`.
    """

    def __init__(self, tools: type[SearchTools]) -> None:
        self._tools = tools

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Set the step before the episodes of a step are played."""
        self._tools.training_step = state.global_step


def _check_sampling(trainer: Any) -> None:
    for name, neutral in _NEUTRAL.items():
        value = getattr(trainer, name)
        if value not in neutral:
            raise ValueError(
                f"got {name}={value!r} in the GRPOConfig, expected {neutral[0]!r}: SearchRollouts "
                "samples from the whole distribution of the trainer's model"
            )


def _columns(rollouts: Sequence[Rollout], *, pad_token_id: int) -> dict[str, list[Any]]:
    """Return episodes as the lists that TRL expects of a `rollout_func`."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("prompt_ids", "completion_ids", "logprobs", "env_mask", "reward")
    }
    for rollout in rollouts:
        start = len(rollout.segments[0].token_ids)
        # TRL needs at least one token in every completion.
        completion = list(rollout.token_ids[start:]) or [pad_token_id]
        mask = [int(acted) for acted in rollout.action_mask[start:]] or [0]
        columns["prompt_ids"].append(list(rollout.token_ids[:start]))
        columns["completion_ids"].append(completion)
        columns["logprobs"].append(list(rollout.logprobs[start:]) or [0.0])
        if rollout.failed:
            failure = rollout.transcript.failure
            _LOGGER.warning("an episode failed and is not trained: %s", failure)
        columns["env_mask"].append([0] * len(mask) if rollout.failed else mask)
        columns["reward"].append(None if rollout.failed else rollout.reward)
    return columns
