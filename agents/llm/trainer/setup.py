"""Sets up torch and the policy of a run, and keeps its random states."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from agents.llm.distributed.context import DistributedContext, init_distributed
from agents.llm.learner.allocator import keep_freed_memory
from agents.llm.policy.config import ModelConfig
from agents.llm.policy.lora import adapter_size, add_adapter, has_adapter, train_adapter
from agents.llm.policy.policy import Policy, load_policy, resolve_device
from agents.llm.policy.precision import bfloat16_is_faster
from agents.llm.trainer.config import RunSettings, SessionConfig
from agents.specs import spec_from_text
from agents.storage.config_file import settings_of, with_settings
from agents.storage.output_folder import folder_lock
from zs_env.prompts import PromptTemplate

Settings = TypeVar("Settings", bound=RunSettings)
# From here on a rate that trains the tiny policy destroys a language model.
_MANY_WEIGHTS, _HIGH_RATE = 50_000_000, 1e-4


@contextmanager
def open_session(config: SessionConfig) -> Iterator[DistributedContext]:
    """Connect this process to the others that torchrun started, and lock the output folder.

    Raises:
        RankLostError: if the other processes do not start before the deadline.
        ValueError: if another run writes to the folder.
    """
    with (
        init_distributed(os.environ, deadline_s=config.rank_deadline_s) as distributed,
        folder_lock(config.output) if distributed.is_main else nullcontext(),
    ):
        yield distributed


def set_up_torch(config: SessionConfig, *, device: str, distributed: DistributedContext) -> None:
    """Set seeds, threads, the GPU of this rank and, if asked for, deterministic kernels."""
    keep_freed_memory()
    if distributed.world_size > 1 and resolve_device(device) == "cuda":
        torch.cuda.set_device(distributed.local_rank)
    # The trainer shows a progress bar of its own.
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(config.threads)
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    if config.deterministic:
        # Warnings only: on a GPU a few operations have no deterministic form.
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())


def choose_precision(config: Settings, distributed: DistributedContext) -> Settings:
    """Return the settings of a new run with precisions in place of "auto".

    Called after `set_up_torch`, because the number of threads affects the measurement.
    """
    settings = settings_of(config)
    left_open = {name for name in ("autocast", "rollout_dtype") if settings.get(name) == "auto"}
    if not left_open:
        return config
    device = resolve_device(settings["device"]).partition(":")[0]
    # Other dtypes of weights were chosen for their precision.
    measured = settings["dtype"] == "float32" and bfloat16_is_faster(device)
    faster = distributed.all_gather(measured, "choose a precision")[0]
    chosen: dict[str, Any] = {"autocast": faster}
    if "rollout_dtype" in left_open:
        generator = spec_from_text(settings["generator"] or "transformers", role="generator")
        # Without a copy, rollouts would be sampled from weights that an update changes.
        copied = settings["dtype"] if settings["one_step_off"] else None
        in_process = generator["kind"] == "transformers"
        chosen["rollout_dtype"] = ("bfloat16" if faster else copied) if in_process else None
    return with_settings(config, {name: chosen[name] for name in left_open})


def random_state() -> dict[str, Any]:
    """State of all global random generators: Python, NumPy, torch and CUDA."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), position, has_gauss, gauss),  # pyright: ignore
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Restore the states of `random_state`."""
    random.setstate(state["python"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        # The run may be resumed with fewer devices.
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])


def choose_prompt(prompt: str | None, policy: Policy) -> str | None:
    """Return the prompt of the settings, or else of the policy, or else of its turn format.

    Raises:
        ValueError: if the prompt asks for search tags, but the policy calls a function, or for an
            answer by a tool call, which no turn format has.
    """
    chosen = prompt or policy.prompt
    if chosen == "tool_calls":
        raise ValueError(
            "the prompt 'tool_calls' asks for a call of the tool answer, but in every turn format "
            "the policy writes <answer>; choose --prompt tools for the turn format 'tools', else "
            "--prompt instruct"
        )
    if policy.turn_format != "tools":
        return chosen
    chosen = chosen or "tools"
    if "<search>" in PromptTemplate.of(chosen).text:
        raise ValueError(
            f"the prompt {chosen!r} asks for <search>, but in the turn format 'tools' the policy "
            "calls a function; choose --prompt tools, or a text without <search>"
        )
    return chosen


def learning_rate_warning(learning_rate: float, model: nn.Module) -> str | None:
    """Return a warning if a model of millions of trained weights gets a rate for a tiny one."""
    size = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    if size < _MANY_WEIGHTS or learning_rate < _HIGH_RATE:
        return None
    return (
        f"learning_rate {learning_rate:g} suits the tiny policy; {size // 1_000_000} million "
        "trained weights usually need 1e-6 to 5e-5 and forget their format at this rate: "
        "set --learning-rate"
    )


def load_trained_policy(
    config: ModelConfig, checkpoint: Path | None = None, *, kl_coef: float = 0.0
) -> Policy:
    """Load the policy of a checkpoint, or the initial one, with trainable weights or adapters.

    Args:
        config: names the initial policy.
        checkpoint: folder of a checkpoint; None for the initial policy.
        kl_coef: weight of the KL to the reference model.

    Raises:
        ValueError: if the initial policy has an adapter that does not fit the settings, or a chat
            template that does not support the turn format.
    """
    source = checkpoint or config.policy
    policy = load_policy(source, dtype=config.dtype, device=config.device)
    policy.set_turn_format(config.turn_format or policy.turn_format)
    if not has_adapter(policy.model):
        if config.lora_rank:
            add_adapter(policy.model, rank=config.lora_rank, alpha=config.lora_alpha)
        return policy
    rank, alpha = adapter_size(policy.model)
    if checkpoint is None and (config.lora_rank, config.lora_alpha) != (rank, alpha):
        raise ValueError(
            f"the policy {config.policy} has an adapter of rank {rank} and alpha {alpha}, got "
            f"lora_rank={config.lora_rank}, lora_alpha={config.lora_alpha}; use those of the "
            "adapter, or merge it: load_policy(FOLDER).save_merged(OTHER)"
        )
    if checkpoint is None and kl_coef > 0:
        raise ValueError(
            f"kl_coef={kl_coef} would keep the policy {config.policy} near the model without its "
            "adapter, not near itself; merge the adapter: load_policy(FOLDER).save_merged(OTHER)"
        )
    train_adapter(policy.model)
    return policy
