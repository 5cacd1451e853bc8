"""Builds a generator from its JSON spec."""

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
    """Build the generator of a policy.

    Args:
        policy: the policy.
        spec: a kind of `GENERATORS`, or a JSON object with "kind" and the arguments of that
            generator; None is "transformers".
        dtype: dtype of a copy that transformers samples from; None uses the policy's own model.
        folder: folder through which servers get weights; None if another process sends them.

    Raises:
        ValueError: if the kind is unknown or its arguments are wrong.
    """
    settings = spec_from_text(spec or "transformers", role="generator")
    kind = settings.pop("kind")
    if kind not in GENERATORS:
        raise unknown_name("generator", kind, GENERATORS)
    if dtype is not None and kind != "transformers":
        raise ValueError(
            f"got rollout_dtype={dtype!r} with the generator {kind!r}, expected 'transformers'; "
            "set the dtype of vLLM in its own settings"
        )
    try:
        return GENERATORS[kind](policy, settings, dtype=dtype, folder=folder)
    except TypeError as error:
        raise ValueError(f"--generator of kind {kind!r}: {error}") from error


def _transformers(policy: Policy, settings: Any, *, dtype: str | None, **_: Any) -> Generator:
    torch_dtype = None if dtype is None else getattr(torch, dtype)
    return TransformersGenerator(policy, dtype=torch_dtype, **settings)


def _vllm(policy: Policy, settings: Any, **_: Any) -> Generator:
    from agents.llm.generators.vllm.local import VLLMGenerator

    return VLLMGenerator(policy, **settings)


def _vllm_server(policy: Policy, settings: Any, *, folder: Path | None, **_: Any) -> Generator:
    from agents.llm.generators.vllm.server import VLLMServerGenerator

    servers = settings.pop("servers", ())
    servers = [servers] if isinstance(servers, str) else servers
    method, weights = settings.pop("weights", "folder"), None
    sync_settings = {name: settings.pop(name) for name in _WEIGHT_SETTINGS if name in settings}
    if folder is not None:
        weights = _weight_sync(method, servers, folder, sync_settings)
    return VLLMServerGenerator(policy, servers, weights=weights, **settings)


def _weight_sync(method: str, servers: list[str], folder: Path, settings: dict[str, Any]) -> Any:
    from agents.llm.generators.vllm.weight_sync import FolderSync, NCCLSync

    if "sync_deadline_s" in settings:
        settings["deadline_s"] = settings.pop("sync_deadline_s")
    if method == "folder":
        return FolderSync(servers, folder, **settings)
    if method == "nccl":
        return NCCLSync(servers, **settings)
    raise unknown_name("weights method", method, ("folder", "nccl"))


# Each takes the policy, the fields of the spec, and dtype and folder of `make_generator`.
GENERATORS: Mapping[str, Callable[..., Generator]] = {
    "transformers": _transformers,
    "vllm": _vllm,
    "vllm-server": _vllm_server,
}
