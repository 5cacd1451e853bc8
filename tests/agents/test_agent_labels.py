"""Labels of agents on the command line."""

import json

import pytest

from agents.agent_labels import agents_by_label, split_label
from agents.agent_registry import build_agent, check_agent_name

URL = "http://127.0.0.1:8000/v1"


def spec(kind="rag", *, generator=None, **fields):
    return json.dumps({"kind": kind, "generator": generator or {"kind": "server"}, **fields})


def served(model=None, servers=URL, **fields):
    named = {} if model is None else {"model": model}
    return {"kind": "server", "servers": servers, **named, **fields}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tiny", ("tiny", "tiny")),
        ("ours=tiny", ("ours", "tiny")),
        ("after RL, step 100 = tiny", ("after RL, step 100", "tiny")),
        ("best=runs/lr=1e-5", ("best", "runs/lr=1e-5")),
        ("runs/lr=1e-5/best", ("runs/lr=1e-5/best", "runs/lr=1e-5/best")),
        ("Owner/Model-7B", ("Owner/Model-7B", "Owner/Model-7B")),
        ("mine=module:Agent", ("mine", "module:Agent")),
    ],
)
def test_a_label_stands_before_the_first_equals_sign(text, expected):
    assert split_label(text) == expected


def test_an_existing_folder_with_an_equals_sign_has_no_label(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=1e-5").mkdir()
    assert split_label("lr=1e-5") == ("lr=1e-5", "lr=1e-5")
    assert split_label("fast=lr=1e-5") == ("fast", "lr=1e-5")


@pytest.mark.parametrize(
    ("generator", "label"),
    [
        (served("Qwen/Qwen2.5-7B-Instruct"), "rag · Qwen2.5-7B-Instruct"),
        (served("a=b"), "rag · a-b"),
        (served(), "rag · 127.0.0.1:8000"),
        (served(servers=["10.0.0.1:80/v1", URL]), "rag · 10.0.0.1:80"),
        ({"kind": "transformers", "model": "/models/Tiny/"}, "rag · Tiny"),
        ({"kind": "vllm"}, "rag · vllm"),
    ],
)
def test_the_default_label_of_json_is_its_kind_and_its_model(generator, label):
    text = spec(generator=generator)
    assert split_label(text) == (label, text)
    # Long texts are not looked up as files.
    long = spec(generator=generator, seed="x" * 5000)
    assert split_label(f"mine={long}") == ("mine", long)


def test_equal_default_labels_are_extended_by_what_differs():
    first, seeded = spec(generator=served("m")), spec(generator=served("m"), seed=1)
    warm = spec(generator=served("m", "http://h:1/v1", sampling={"temperature": 0.7}))
    assert agents_by_label([first, seeded, warm, spec("cot", generator=served("m"))]) == {
        "rag · m": first,
        "rag · m (seed 1)": seeded,
        "rag · m (servers h:1/v1, temperature 0.7)": warm,
        "cot · m": spec("cot", generator=served("m")),
    }
    assert list(agents_by_label([seeded, first])) == ["rag · m", "rag · m (no seed)"]


def test_one_agent_may_have_two_labels():
    assert agents_by_label(["a=tiny", "b=tiny", "tiny"]) == {
        "a": "tiny",
        "b": "tiny",
        "tiny": "tiny",
    }


@pytest.mark.parametrize(
    ("texts", "hint"),
    [
        ([], "--agents is empty"),
        (["tiny", "tiny"], "'tiny' twice, expected different names"),
        (["a=tiny", "a=random"], "'a' twice"),
        (["random=tiny", "random"], "'random' twice"),
        ([spec(), spec().replace(" ", "  ")], "twice"),
        (["=tiny"], "blank label; expected LABEL=AGENT"),
        (['mine={"kind"'], "not valid JSON"),
    ],
)
def test_errors_name_the_label(texts, hint):
    with pytest.raises(ValueError, match=hint):
        for agent in agents_by_label(texts).values():
            check_agent_name(agent)
            build_agent(agent)


def test_agents_are_built_and_checked_with_a_label():
    assert type(build_agent("mine=search-once")) is type(build_agent("search-once"))
    check_agent_name("mine=search-once")
    with pytest.raises(ValueError, match="Did you mean 'search-once'"):
        check_agent_name("mine=search_once")
    with pytest.raises(ValueError, match="an empty one"):
        check_agent_name("mine=")
