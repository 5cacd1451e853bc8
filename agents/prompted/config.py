"""Builds prompted agents from JSON specs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from agents.prompted.chain_of_thought import ChainOfThought
from agents.prompted.direct_answer import DirectAnswer
from agents.prompted.method import Method
from agents.prompted.prompted_agent import PromptedAgent
from agents.prompted.ragent import RAgent
from agents.prompted.retrieve_once import RetrieveOnce
from agents.prompted.search_o1 import SearchO1
from zs_env.config import build_generator
from zs_env.text.suggestions import keywords, make_named, unknown_name

METHODS: dict[str, Callable[..., Method]] = {
    "direct": DirectAnswer,
    "cot": ChainOfThought,
    "rag": RetrieveOnce,
    "ragent": RAgent,
    "search-o1": SearchO1,
}
EXAMPLE = '{"kind": "rag", "generator": {"kind": "server", "servers": "http://127.0.0.1:8000/v1"}}'
# Agents with equal generator specs share a generator while one of them holds it.
_generators: WeakValueDictionary[str, Any] = WeakValueDictionary()


def build_prompted_agent(spec: Mapping[str, Any], *, seed: int = 0) -> PromptedAgent:
    """Build a prompted agent.

    Args:
        spec: `kind`, a key of `METHODS`; `generator`, a spec of `zs_env.config.GENERATOR_KINDS`,
            with temperature 0 unless `sampling` sets it; `seed` of the sampling, 0 by default; and
            the method's settings. Agents with equal generator specs share one generator, so that a
            model is loaded once.
        seed: added to the seed of the spec; differs between the repeats of a benchmark.

    Raises:
        ValueError: if a kind or a field is invalid; the message names the valid ones.
    """
    kind, own_seed, generator = spec.get("kind"), spec.get("seed", 0), spec.get("generator")
    if kind not in METHODS:
        raise unknown_name("agent kind", kind, METHODS)
    settings = {name: spec[name] for name in spec if name not in ("kind", "seed", "generator")}
    for name in settings:
        known = keywords(METHODS[kind])
        if name not in known:
            raise unknown_name(f"field of agent kind {kind!r}", name, ["seed", "generator", *known])
    if not isinstance(own_seed, int) or isinstance(own_seed, bool):
        raise ValueError(f"the seed of an agent must be a whole number, got {own_seed!r}")
    if not isinstance(generator, Mapping):
        raise ValueError(
            f"agent kind {kind!r} needs 'generator', the spec of a language model, got "
            f"{generator!r}; an example: {EXAMPLE}"
        )
    method = make_named("setting", METHODS[kind], settings)
    return PromptedAgent(method, _shared_generator(generator), seed=own_seed + seed)


def _shared_generator(spec: Mapping[str, Any]) -> Any:
    # Answers are compared between agents, so generation is greedy by default.
    sampling = spec.get("sampling") or {}
    if not isinstance(sampling, Mapping):
        raise ValueError(f"the sampling of a generator must be an object, got {sampling!r}")
    spec = {**spec, "sampling": {"temperature": 0.0, **sampling}}
    key = json.dumps(spec, sort_keys=True)
    generator = _generators.get(key)
    if generator is None:
        generator = _generators[key] = build_generator(spec)
    return generator
