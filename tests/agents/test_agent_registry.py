"""Names of agents."""

import pytest

from agents.agent_labels import split_label
from agents.agent_registry import (
    BASELINES,
    build_agent,
    check_agent_name,
    check_agents,
    fingerprint,
)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_can_be_built_by_name(name):
    assert callable(build_agent(name).act)
    assert fingerprint(build_agent(name)) == fingerprint(build_agent(name))


def test_baselines_have_fingerprints_of_their_own():
    assert len({fingerprint(build_agent(name)) for name in BASELINES}) == len(BASELINES)


def test_a_class_in_the_working_directory_is_an_agent(tmp_path, monkeypatch):
    (tmp_path / "my_own_agent.py").write_text(
        "class Mine:\n"
        "    fingerprint = 7\n"
        "    def act(self, observation):\n"
        "        return '<answer>mine</answer>'\n"
        "class NoAgent:\n"
        "    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    agent = build_agent("my_own_agent:Mine")
    assert agent.act({}) == "<answer>mine</answer>"
    assert fingerprint(agent) == "7"
    with pytest.raises(ValueError, match="no method act"):
        build_agent("my_own_agent:NoAgent")
    with pytest.raises(ValueError, match="Did you mean 'Mine'"):
        build_agent("my_own_agent:Mime")


def test_unknown_names_are_refused_with_a_hint():
    with pytest.raises(ValueError, match="Did you mean 'search-once'"):
        build_agent("search_once")
    with pytest.raises(ValueError, match="module 'nowhere_at_all' is neither"):
        build_agent("nowhere_at_all:Agent")


def test_a_name_can_be_checked_without_building_its_agent():
    for name in (*BASELINES, "tiny", "nowhere_at_all:Agent", "owner/name"):
        check_agent_name(name)
    with pytest.raises(ValueError, match="Did you mean 'search-once'"):
        check_agent_name("search_once")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ('{"kind": "polcy", "policy": "tiny"}', "Did you mean 'policy'"),
        ('{"kind": "ragg", "generator": {"kind": "server"}}', "Did you mean 'rag'"),
        ('{"kind": "policy", "policy": "tiny", "dtyp": "float32"}', "Did you mean 'dtype'"),
    ],
)
def test_json_of_an_unknown_kind_or_field_is_found_before_any_agent_is_built(spec, message):
    with pytest.raises(ValueError, match=message):
        check_agents(["search-once", f"mine={spec}"])


def test_a_policy_as_json_has_a_dtype_and_a_fingerprint_of_its_own():
    plain = build_agent("tiny")
    same = build_agent('{"kind": "policy", "policy": "tiny", "device": "cpu"}')
    rounded = build_agent('{"kind": "policy", "policy": "tiny", "dtype": "bfloat16"}')
    assert str(rounded.policy.model.dtype) == "torch.bfloat16"
    assert fingerprint(same) == fingerprint(plain) != fingerprint(rounded)
    assert split_label('{"kind": "policy", "policy": "runs/train"}')[0] == "policy · train"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('"policy": "tiny", "dtyp": "float32"', "Did you mean 'dtype'"),
        ('"dtype": "float32"', "policy=None, expected a text"),
        ('"policy": "tiny", "device": 0', "device=0, expected a text"),
        ('"policy": "tiny", "dtype": "int8"', "dtype must be one of"),
        ('"policy": "tiny", "device": "cuda:99"', "cannot use the device 'cuda:99'"),
        ('"policy": "tiny", "device": "gpu"', "cannot use the device 'gpu'"),
    ],
)
def test_an_invalid_field_of_a_policy_is_an_error(fields, message):
    with pytest.raises(ValueError, match=message):
        build_agent('{"kind": "policy", ' + fields + "}")
