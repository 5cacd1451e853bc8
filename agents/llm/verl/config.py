"""A configuration of verl 0.9 from the settings of `zerosearch train`. Imports verl only to check.

`examples/verl/search.yaml` has the same fields, written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any

from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import environment_specs
from envs_registry.verl import AGENT_NAME

CONFIG_NAME = "search"
LOOP_FILE, TRAIN_ROWS, HELD_OUT_ROWS = "agent_loop.yaml", "train.jsonl", "heldout.jsonl"
_HYDRA = ("hydra", "defaults")
_PROMPT_TOKENS = 2048
_MAX_CONTEXT = 32768
_CHARS_PER_TOKEN = 3
# verl's names of our algorithms. verl has no estimator with plain returns (reinforce) and none with
# turn-level credit (grpo_turn).
_ESTIMATORS = {
    "grpo": "grpo",
    "dr_grpo": "grpo",
    "dapo": "grpo",
    "gspo": "grpo",
    "cispo": "grpo",
    "rloo": "rloo",
    "reinforce_pp": "reinforce_plus_plus",
    "reinforce_pp_baseline": "reinforce_plus_plus_baseline",
    "ppo": "gae",
}
_LOSSES = {"clip": "vanilla", "gspo": "gspo", "cispo": "cispo"}
_AGGREGATIONS = {
    "token": "token-mean",
    "sequence": "seq-mean-token-mean",
    "constant": "seq-mean-token-sum-norm",
}
# Of verl's `kl_loss_type` and `kl_penalty`.
_KL = {"k1": "kl", "k2": "mse", "k3": "low_var_kl"}
# A bound that no ratio reaches; verl always has one.
_NO_DUAL_CLIP = 1e6
_CORRECTIONS = {"none": None, "token_truncate": "token", "sequence_truncate": "sequence"}


def verl_config(
    config: TrainConfig, *, gpus: int, output: Path, billions: float | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Translate the settings of a training.

    Args:
        config: the settings; `policy` is a name or a folder that verl can load.
        gpus: number of GPUs, at most 8 or a multiple of 8.
        output: folder of the configuration, of the rows and of verl's checkpoints.
        billions: number of weights of the policy, in billions; read from the policy's name by
            default.

    Returns:
        The primary configuration for Hydra, over verl's `ppo_trainer`, and that of the agent loop.

    Raises:
        ValueError: if verl has no counterpart of a setting, or `gpus` or the size does not fit.
    """
    _check(config, gpus)
    size = _billions(config.model.policy) if billions is None else billions
    values = {
        "hydra": {"searchpath": ["pkg://verl.trainer.config"]},
        "defaults": ["ppo_trainer", "_self_"],
        "data": _data(config, output),
        "actor_rollout_ref": _actor_rollout_ref(config, size, gpus, output),
        "algorithm": _algorithm(config),
        "trainer": {
            "project_name": "zerosearch",
            "experiment_name": output.name,
            "default_local_dir": str(output / "checkpoints"),
            "logger": ["console", "tensorboard"],
            "nnodes": ceil(gpus / 8),
            "n_gpus_per_node": min(gpus, 8),
            "total_training_steps": config.run.steps,
            "total_epochs": config.run.steps,
            "save_freq": config.run.checkpoint_every,
            "max_actor_ckpt_to_keep": config.run.keep_checkpoints,
            "test_freq": config.evaluation.eval_every or -1,
        },
    }
    if config.algorithm.row.needs_critic:
        values["critic"] = _critic(config, size, gpus)
    loop = {
        "name": AGENT_NAME,
        "_target_": "agents.llm.verl.agent_loop.ZeroSearchAgentLoop",
        "max_new_tokens": config.generation.max_new_tokens,
        "seed": config.run.seed,
        "share_group_seed": config.rollouts.share_group_seed,
        "environments": environment_specs(config),
    }
    return values, [loop]


def check_config(folder: Path) -> str | None:
    """Compose the configuration in a folder with Hydra and check it with the installed verl.

    Returns:
        The version of verl; None if verl is not installed.

    Raises:
        ValueError: if verl has no such field, or refuses a value. verl loads the policy's own
            configuration for a critic.
    """
    if find_spec("verl") is None:
        return None
    from hydra import (  # type: ignore[import-not-found]
        compose,
        initialize_config_dir,
        initialize_config_module,
    )
    from hydra.errors import HydraException  # type: ignore[import-not-found]
    from omegaconf import OmegaConf  # type: ignore[import-not-found]
    from omegaconf.errors import OmegaConfBaseException  # type: ignore[import-not-found]
    from verl.trainer.ppo.utils import (  # type: ignore[import-not-found]
        need_critic,
        need_reference_policy,
    )
    from verl.utils.config import validate_config  # type: ignore[import-not-found]

    own: Any = OmegaConf.to_container(OmegaConf.load(folder / f"{CONFIG_NAME}.yaml"))
    with initialize_config_module("verl.trainer.config", version_base=None):
        known: Any = OmegaConf.to_container(compose("ppo_trainer"))
    unknown = _fields(own) - _fields(known) - _fields({name: own[name] for name in _HYDRA})
    if unknown:
        raise ValueError(f"verl {version('verl')} has no field {', '.join(sorted(unknown))}")
    with initialize_config_dir(str(folder.resolve()), version_base=None):
        config = compose(CONFIG_NAME)
    try:
        validate_config(config, need_reference_policy(config), need_critic(config))
    except (AssertionError, ValueError, HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"verl {version('verl')} refuses {folder}: {error}") from error
    return version("verl")


def _fields(values: Mapping[str, Any], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for name, value in values.items():
        nested = isinstance(value, dict) and value
        names |= _fields(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}"}
    return names


def _check(config: TrainConfig, gpus: int) -> None:
    if gpus < 1 or (gpus > 8 and gpus % 8):
        raise ValueError(f"--gpus is {gpus}; expected 1 to 8, or a multiple of 8")
    algorithm, rollouts = config.algorithm, config.rollouts
    if algorithm.algorithm not in _ESTIMATORS:
        raise ValueError(
            f"verl has no counterpart of --algorithm {algorithm.algorithm}; choose one of "
            f"{', '.join(_ESTIMATORS)}"
        )
    if algorithm.importance_sampling not in _CORRECTIONS:
        raise ValueError(
            f"got --importance-sampling {algorithm.importance_sampling}, expected one of "
            f"{', '.join(_CORRECTIONS)} for verl"
        )
    unsupported = {
        "--curriculum": rollouts.curriculum,
        "--max-refills": rollouts.max_refills,
        "--one-step-off": rollouts.one_step_off,
        "--control": rollouts.control != "none",
        "--turn-format": config.model.turn_format not in (None, "inline"),
    }
    if names := [name for name, value in unsupported.items() if value]:
        raise ValueError(
            f"verl has no counterpart of {', '.join(names)}; remove it from the recipe: zerosearch "
            "recipes NAME > mine.toml, then --recipe mine.toml"
        )
    episodes = rollouts.questions_per_step * rollouts.group_size
    if rollouts.questions_per_step % algorithm.minibatches or episodes % gpus:
        raise ValueError(
            f"got {rollouts.questions_per_step} questions per step, {algorithm.minibatches} "
            f"minibatches and groups of {rollouts.group_size}, expected questions that the "
            f"minibatches divide and episodes that the {gpus} GPUs divide"
        )


def _billions(policy: str) -> float:
    """Number of weights that the name of a model states, in billions."""
    found = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)b(?![a-z0-9])", policy.lower())
    if found is None:
        raise ValueError(
            f"the name {policy!r} states no number of weights; give it as --billions, such as 7"
        )
    return float(found[1])


def _lengths(config: TrainConfig) -> tuple[int, int]:
    """Longest response, pages included, and longest episode, in tokens."""
    environment = config.environment
    page = environment.num_documents * environment.max_document_chars // _CHARS_PER_TOKEN
    turns = environment.max_turns
    response = turns * config.generation.max_new_tokens + (turns - 1) * page
    response = min(response, _MAX_CONTEXT - _PROMPT_TOKENS)
    return response, _PROMPT_TOKENS + response


def _data(config: TrainConfig, output: Path) -> dict[str, Any]:
    return {
        "train_files": str(output / TRAIN_ROWS),
        "val_files": str(output / HELD_OUT_ROWS),
        "train_batch_size": config.rollouts.questions_per_step,
        "max_prompt_length": _PROMPT_TOKENS,
        "max_response_length": _lengths(config)[0],
        "filter_overlong_prompts": True,
        "shuffle": True,
        "seed": config.run.seed,
    }


def _actor_rollout_ref(config: TrainConfig, size: float, gpus: int, output: Path) -> dict[str, Any]:
    algorithm, clip = config.algorithm, config.algorithm.clip
    context = _lengths(config)[1]
    return {
        "model": {
            "path": config.model.policy,
            "enable_gradient_checkpointing": True,
            "use_remove_padding": True,
            "lora_rank": config.model.lora_rank,
            "lora_alpha": config.model.lora_alpha,
        },
        "actor": {
            # Prompts, not episodes.
            "ppo_mini_batch_size": config.rollouts.questions_per_step // algorithm.minibatches,
            "ppo_epochs": algorithm.epochs,
            "use_dynamic_bsz": True,
            "ppo_max_token_len_per_gpu": max(16384, context),
            "clip_ratio_low": clip.low,
            "clip_ratio_high": clip.high,
            "clip_ratio_c": clip.dual or _NO_DUAL_CLIP,
            "policy_loss": {"loss_mode": _LOSSES[algorithm.loss]},
            "loss_agg_mode": _AGGREGATIONS[algorithm.aggregation],
            "entropy_coeff": algorithm.entropy_coef,
            "use_kl_loss": algorithm.kl_in_loss,
            "kl_loss_coef": algorithm.kl_coef,
            "kl_loss_type": _KL[algorithm.estimator],
            "grad_clip": config.optimizer.max_grad_norm,
            "optim": _optimizer(config, config.optimizer.learning_rate),
            "fsdp_config": _offload(size, gpus),
        },
        "ref": {"fsdp_config": {"param_offload": True}},
        "rollout": {
            "name": "vllm",
            "n": config.rollouts.group_size,
            "temperature": config.generation.temperature,
            "tensor_model_parallel_size": min(gpus, 1 if size <= 8 else 2 if size <= 16 else 4),
            "gpu_memory_utilization": 0.6 if size <= 4 else 0.5,
            "max_model_len": context,
            "max_num_seqs": 256,
            "agent": {
                "num_workers": 8,
                "default_agent_loop": AGENT_NAME,
                "agent_loop_config_path": str(output / LOOP_FILE),
            },
        },
    }


def _critic(config: TrainConfig, size: float, gpus: int) -> dict[str, Any]:
    return {
        "model": {"path": config.model.policy, "enable_gradient_checkpointing": True},
        "optim": _optimizer(config, config.algorithm.critic_learning_rate),
        "cliprange_value": config.algorithm.value_clip,
        "ppo_max_token_len_per_gpu": max(16384, _lengths(config)[1]),
        "fsdp": _offload(size, gpus),
    }


def _algorithm(config: TrainConfig) -> dict[str, Any]:
    algorithm = config.algorithm
    return {
        "adv_estimator": _ESTIMATORS[algorithm.algorithm],
        "norm_adv_by_std_in_grpo": algorithm.row.advantage == "group",
        "gamma": algorithm.gamma,
        "lam": algorithm.gae_lambda,
        "use_kl_in_reward": algorithm.kl_in_reward,
        "kl_penalty": _KL[algorithm.estimator],
        "kl_ctrl": {"kl_coef": algorithm.kl_coef},
        "rollout_correction": {
            "rollout_is": _CORRECTIONS[algorithm.importance_sampling],
            "rollout_is_threshold": algorithm.importance_limit,
        },
    }


def _optimizer(config: TrainConfig, learning_rate: float) -> dict[str, Any]:
    optimizer = config.optimizer
    if optimizer.lr_schedule == "linear":
        raise ValueError("verl has no linear schedule; give --lr-schedule constant or cosine")
    return {
        "lr": learning_rate,
        "lr_warmup_steps": optimizer.warmup_steps,
        "lr_scheduler_type": optimizer.lr_schedule,
        "weight_decay": optimizer.weight_decay,
    }


def _offload(size: float, gpus: int) -> Mapping[str, bool]:
    """Keep weights and moments on the host if they take more than 20 GB of a GPU."""
    offload = 16 * size / gpus > 20
    return {"param_offload": offload, "optimizer_offload": offload}
