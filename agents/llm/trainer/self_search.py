"""Self-search: the policy in training generates its own pages (SSRL, arXiv:2508.10874).

In a simulator's spec the text generator `{"kind": "policy"}` is the policy with its current
weights. Fields: `sampling`, `batch_size`.
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


def uses_policy(spec: object) -> bool:
    """Whether an engine's spec contains a text generator of kind "policy"."""
    if isinstance(spec, Mapping):
        return spec.get("kind") == _KIND or any(map(uses_policy, spec.values()))
    return isinstance(spec, list | tuple) and any(map(uses_policy, spec))


def with_policy_as_generator(spec: Any, policy: Policy) -> Any:
    """Return an engine's spec with the policy in place of every generator of kind "policy".

    Raises:
        ValueError: if a cache wraps such a generator, or a field of it does not exist.
    """

    def make(*, sampling: Mapping[str, Any] | None = None, batch_size: int = 16) -> Any:
        return TransformersTextGenerator(
            policy.model,
            policy.tokenizer,
            sampling=build_sampling(sampling),
            batch_size=batch_size,
        )

    def change(one: Mapping[str, Any]) -> Any:
        if one.get("kind") == "cache" and uses_policy(one):
            raise ValueError(
                "a cache around the policy's own pages would return pages of old weights; "
                "remove the cache"
            )
        if one.get("kind") != _KIND:
            return one
        fields = {name: value for name, value in one.items() if name != "kind"}
        return make_named("field of generator kind 'policy'", make, fields)

    return rewritten(spec, change)
