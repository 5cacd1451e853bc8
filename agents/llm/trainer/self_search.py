"""Self-search: the policy in training writes the pages that it reads (SSRL, arXiv:2508.10874).

In the spec of a simulator the generator `{"kind": "policy"}` stands for it, with the weights that it
has at that moment. Fields: `sampling`, `batch_size`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.llm.policy.policy import Policy
from agents.specs import rewritten
from zs_env.config import build_sampling
from zs_env.simulator.generators.local_transformers import TransformersTextGenerator
from zs_env.text.suggestions import make_named

_KIND = "policy"


def writes_itself(spec: object) -> bool:
    """Whether a generator of kind "policy" stands anywhere in an engine's spec."""
    if isinstance(spec, Mapping):
        return spec.get("kind") == _KIND or any(map(writes_itself, spec.values()))
    return isinstance(spec, list | tuple) and any(map(writes_itself, spec))


def with_policy_as_generator(spec: Any, policy: Policy) -> Any:
    """Return an engine's spec with the policy in place of every generator of kind "policy".

    Raises:
        ValueError: if a cache is around it, which would keep the pages of old weights, or a field
            of the generator does not exist.
    """

    def make(*, sampling: Mapping[str, Any] | None = None, batch_size: int = 16) -> Any:
        return TransformersTextGenerator(
            policy.model,
            policy.tokenizer,
            sampling=build_sampling(sampling),
            batch_size=batch_size,
        )

    def change(one: Mapping[str, Any]) -> Any:
        if one.get("kind") == "cache" and writes_itself(one):
            raise ValueError(
                "a cache around the policy's own pages would go on with those of old weights; "
                "leave the cache out"
            )
        if one.get("kind") != _KIND:
            return one
        fields = {name: value for name, value in one.items() if name != "kind"}
        return make_named("field of generator kind 'policy'", make, fields)

    return rewritten(spec, change)
