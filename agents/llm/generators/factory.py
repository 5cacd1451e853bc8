"""Builds a generator from its JSON spec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from agents.llm.generators import KINDS
from agents.llm.generators.base import Generator
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.policy.policy import Policy
from agents.specs import spec_from_text
from zs_env.text.suggestions import unknown_name

_WEIGHT_SETTINGS = ("master_address", "master_port", "workers", "sync_deadline_s")


def make_generator(
    policy: Policy, spec: str | None, *, dtype: str | None, folder: Path | None
) -> Generator:
    """Build the generator of a policy.

    Args:
        policy: the policy.
        spec: a kind of `KINDS`, or a JSON object with "kind" and the arguments of that generator;
            None is "transformers".
        dtype: dtype of a copy that transformers samples from; None uses the policy's own model.
        folder: folder through which servers get weights; None if another process sends them.

    Raises:
        ValueError: if the kind is unknown or its arguments are wrong.
    """
    settings = spec_from_text(spec or "transformers", role="generator")
    kind = settings.pop("kind")
    if kind not in KINDS:
        raise unknown_name("generator", kind, KINDS)
    if dtype is not None and kind != "transformers":
        raise ValueError(
            f"got rollout_dtype={dtype!r} with the generator {kind!r}, expected 'transformers'; "
            "set the dtype of vLLM in its own settings"
        )
    try:
        if kind == "transformers":
            torch_dtype = None if dtype is None else getattr(torch, dtype)
            return TransformersGenerator(policy, dtype=torch_dtype, **settings)
        if kind == "vllm":
            from agents.llm.generators.vllm.local import VLLMGenerator

            return VLLMGenerator(policy, **settings)
        return _server_generator(policy, folder, **settings)
    except TypeError as error:
        raise ValueError(f"--generator of kind {kind!r}: {error}") from error


def _server_generator(
    policy: Policy,
    folder: Path | None,
    *,
    servers: str | Sequence[str] = (),
    weights: str = "folder",
    **settings: Any,
) -> Generator:
    from agents.llm.generators.vllm.server import VLLMServerGenerator
    from agents.llm.generators.vllm.weight_sync import FolderSync, NCCLSync

    servers = [servers] if isinstance(servers, str) else servers
    sync, sync_settings = None, {}
    for name in _WEIGHT_SETTINGS:
        if name in settings:
            sync_settings[name.removeprefix("sync_")] = settings.pop(name)
    if folder is not None:
        if weights not in ("folder", "nccl"):
            raise unknown_name("weights method", weights, ("folder", "nccl"))
        if weights == "folder":
            sync = FolderSync(servers, folder, **sync_settings)
        else:
            sync = NCCLSync(servers, **sync_settings)
    return VLLMServerGenerator(policy, servers, weights=sync, **settings)
