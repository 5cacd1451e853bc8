"""Specs of prompted agents."""

import json

import pytest

from agents.agent_registry import build_agent, fingerprint
from agents.prompted.methods import METHODS
from zs_env.config import GENERATOR_KINDS
from zs_env.simulator import ScriptedTextGenerator


@pytest.fixture(autouse=True)
def built(monkeypatch):
    """Registers a generator kind without dependencies; lists the generators built."""
    built = []

    def make(*, model, sampling=None):
        built.append((model, sampling))
        return ScriptedTextGenerator(
            lambda prompt: f"{model} says", fingerprint=f"{model}{sampling}"
        )

    monkeypatch.setitem(GENERATOR_KINDS, "echo", make)
    return built


def spec(kind="rag", **fields):
    return json.dumps({"kind": kind, "generator": {"kind": "echo", "model": "m"}} | fields)


@pytest.mark.parametrize("kind", METHODS)
def test_every_kind_is_built_with_a_fingerprint_of_its_spec(kind):
    agent = build_agent(spec(kind))
    assert fingerprint(agent) == fingerprint(build_agent(spec(kind)))
    other = fingerprint(build_agent(spec(kind, seed=1)))
    assert fingerprint(agent) != other == fingerprint(build_agent(spec(kind), seed=1))


def test_kinds_have_different_fingerprints():
    assert len({fingerprint(build_agent(spec(kind))) for kind in METHODS}) == len(METHODS)


def test_agents_with_one_generator_spec_share_the_model_while_one_exists(built):
    first, second = build_agent(spec("rag")), build_agent(spec("cot"))
    other = build_agent(spec("cot", generator={"kind": "echo", "model": "n"}))
    assert first.generator is second.generator is not other.generator  # type: ignore[attr-defined]
    assert [model for model, _ in built] == ["m", "n"]
    del first, second
    build_agent(spec("rag"))
    assert [model for model, _ in built] == ["m", "n", "m"]


def test_sampling_is_greedy_by_default(built):
    generator = {"kind": "echo", "model": "m", "sampling": {"max_tokens": 9}}
    build_agent(spec(generator=generator))
    build_agent(spec(generator=generator | {"sampling": {"temperature": 0.7}}))
    assert [sampling for _, sampling in built] == [
        {"temperature": 0.0, "max_tokens": 9},
        {"temperature": 0.7},
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (spec("regent"), "Did you mean 'ragent'"),
        (spec("rag", max_searches=2), "unknown field of agent kind 'rag'"),
        (spec("ragent", max_serches=2), "Did you mean 'max_searches'"),
        (spec("ragent", max_searches=0), "at least 1"),
        (spec("rag", seed="x"), "whole number"),
        (spec("rag", generator=None), "needs 'generator'"),
        (spec("rag", generator="http://127.0.0.1"), "needs 'generator'"),
        (spec("rag", generator={"kind": "ecco", "model": "m"}), "Did you mean 'echo'"),
        (spec("rag", generator={"kind": "echo", "model": "m", "sampling": [1]}), "sampling"),
        ('{"kind": "rag"', "not valid JSON"),
        ('{"generator": {}}', '"kind"'),
        ("rag", "needs a language model"),
    ],
)
def test_errors_name_the_fix(text, hint):
    with pytest.raises(ValueError, match=hint):
        build_agent(text)
