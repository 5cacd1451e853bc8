"""Generators by the JSON that names them in a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from agents.llm.generators.base import Generator
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.policy.policy import Policy
from agents.specs import spec_from_text
from zs_env.text.suggestions import unknown_name

_WEIGHT_SETTINGS = ("master_address", "master_port", "workers", "sync_deadline_s")


def make_generator(
    policy: Policy, spec: str | None, *, dtype: str | None, folder: Path | None
) -> Generator:
    """Make what writes a policy's turns.

    Args:
        policy: the policy.
        spec: a kind of `GENERATORS`, or a JSON object with "kind" and that generator's arguments;
            None for transformers in process.
        dtype: of a copy that transformers samples from; None for the policy itself.
        folder: where weights are left for servers to read; None where another process brings
            servers their weights.

    Raises:
        ValueError: if there is no such generator, or it does not take such arguments.
    """
    settings = spec_from_text(spec or "transformers", role="generator")
    kind = settings.pop("kind")
    if kind not in GENERATORS:
        raise unknown_name("generator", kind, GENERATORS)
    if dtype is not None and kind != "transformers":
        raise ValueError(
            f"rollout_dtype={dtype!r} is for the generator 'transformers', got {kind!r}; vLLM has "
            "a dtype of its own"
        )
    try:
        return GENERATORS[kind](policy, {**settings, "dtype": dtype, "folder": folder})
    except TypeError as error:
        raise ValueError(f"--generator of kind {kind!r}: {error}") from error


def _transformers(policy: Policy, settings: dict[str, Any]) -> Generator:
    del settings["folder"]
    dtype = settings.pop("dtype")
    return TransformersGenerator(
        policy, dtype=None if dtype is None else getattr(torch, dtype), **settings
    )


def _vllm(policy: Policy, settings: dict[str, Any]) -> Generator:
    from agents.llm.generators.vllm.local import VLLMGenerator

    del settings["folder"], settings["dtype"]
    return VLLMGenerator(policy, **settings)


def _vllm_server(policy: Policy, settings: dict[str, Any]) -> Generator:
    from agents.llm.generators.vllm.server import VLLMServerGenerator

    del settings["dtype"]
    servers = settings.pop("servers", ())
    servers = [servers] if isinstance(servers, str) else servers
    way, folder = settings.pop("weights", "folder"), settings.pop("folder")
    weights = None
    syncing = {name: settings.pop(name) for name in _WEIGHT_SETTINGS if name in settings}
    if folder is not None:
        weights = _weight_sync(way, servers, folder, syncing)
    return VLLMServerGenerator(policy, servers, weights=weights, **settings)


def _weight_sync(way: str, servers: list[str], folder: Path, settings: dict[str, Any]) -> Any:
    from agents.llm.generators.vllm.weight_sync import FolderSync, NCCLSync

    if "sync_deadline_s" in settings:
        settings["deadline_s"] = settings.pop("sync_deadline_s")
    if way == "folder":
        return FolderSync(servers, folder, **settings)
    if way == "nccl":
        return NCCLSync(servers, **settings)
    raise unknown_name("way for weights", way, ("folder", "nccl"))


GENERATORS: Mapping[str, Callable[[Policy, dict[str, Any]], Generator]] = {
    "transformers": _transformers,
    "vllm": _vllm,
    "vllm-server": _vllm_server,
}
