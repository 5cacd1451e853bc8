"""Text generators from a spec: the language models behind simulators and prompted agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zs_env.config.spec import as_spec, build_from_spec
from zs_env.text.suggestions import make_named


def build_generator(spec: Any) -> Any:
    """Build a `zs_env.simulator.TextGenerator` from its spec; a generator is returned unchanged."""
    spec = as_spec(spec, "generator")
    if not isinstance(spec, Mapping):
        return spec
    converters = {"sampling": build_sampling, "limits": _build_limits}
    return build_from_spec("generator kind", GENERATOR_KINDS, spec, converters=converters)


def build_sampling(values: Mapping[str, Any] | None) -> Any:
    """Build a `zs_env.simulator.TextSampling` from its fields."""
    from zs_env.simulator import TextSampling

    return make_named("sampling setting", TextSampling, values)


def _build_limits(fields: Mapping[str, Any]) -> Any:
    from zs_env.simulator.generators.server import ServerLimits

    return make_named("limit", ServerLimits, fields)


def _transformers_generator(
    *,
    model: str,
    sampling: Mapping[str, Any] | None = None,
    batch_size: int = 16,
    dtype: str = "float32",
    device: str = "cpu",
) -> Any:
    try:
        from zs_env.simulator.generators.local_transformers import TransformersTextGenerator
    except ImportError as error:
        raise ImportError(
            "generator kind 'transformers' needs torch and transformers; "
            'pip install "zerosearch-gym[train]"'
        ) from error
    return TransformersTextGenerator(
        model, sampling=build_sampling(sampling), batch_size=batch_size, dtype=dtype, device=device
    )


def _vllm_generator(
    *,
    model: str,
    sampling: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Any:
    try:
        from zs_env.simulator.generators.local_vllm import VLLMTextGenerator
    except ImportError as error:
        raise ImportError("generator kind 'vllm' needs vLLM; pip install vllm") from error
    return VLLMTextGenerator(model, sampling=build_sampling(sampling), **dict(settings or {}))


GENERATOR_KINDS: dict[str, str | Callable[..., Any]] = {
    "server": "zs_env.simulator.generators.server:ServerTextGenerator",
    "transformers": _transformers_generator,
    "vllm": _vllm_generator,
}
