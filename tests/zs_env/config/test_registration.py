"""Tests of every registered id."""

import json
import subprocess
import sys
import warnings

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from zs_env import ZeroSearchVectorEnv
from zs_env.config import PRESETS, find_preset, register_presets

BENCHMARKS = ("NQ", "TriviaQA", "PopQA", "HotpotQA", "2WikiMultihopQA", "MuSiQue", "Bamboogle")


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    paragraph = {"title": "Ada", "text": "Ada wrote the program.", "is_gold": True}
    row = {"id": "a", "question": "Who wrote it?", "answers": ["Ada"], "paragraphs": [paragraph]}
    path.write_text("".join(json.dumps(row | {"id": str(n)}) + "\n" for n in range(3)))
    return {"kind": "file", "path": str(path)}


def given(env_id, questions):
    """Return what a user has to add to an id."""
    values = {"questions": questions, "engine": {"kind": "none"}}
    return {name: values[name] for name in find_preset(env_id).needs}


LOCAL = [env_id for env_id, preset in PRESETS.items() if not preset.downloads]


@pytest.mark.parametrize("env_id", LOCAL)
def test_ids_without_download_pass_check_env_without_a_warning(env_id, questions):
    env = gymnasium.make(env_id, **given(env_id, questions))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


@pytest.mark.parametrize("env_id", LOCAL)
def test_env_specs_survive_json(env_id, questions):
    env = gymnasium.make(env_id, **given(env_id, questions))
    again = EnvSpec.from_json(env.spec.to_json())
    assert again == env.spec
    twin = gymnasium.make(again)
    assert twin.reset(seed=9) == env.reset(seed=9)


@pytest.mark.parametrize("env_id", PRESETS)
def test_registered_arguments_are_json_values(env_id):
    spec = gymnasium.spec(env_id)
    assert json.loads(json.dumps(spec.kwargs)) == spec.kwargs == find_preset(env_id).kwargs
    assert EnvSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("env_id", LOCAL)
def test_make_vec_makes_our_own_vector(env_id, questions):
    env = gymnasium.make_vec(env_id, num_envs=3, **given(env_id, questions))
    assert isinstance(env, ZeroSearchVectorEnv)
    assert env.num_envs == 3
    assert EnvSpec.from_json(env.spec.to_json()) == env.spec
    env.close()


def test_each_of_the_seven_benchmarks_has_an_id():
    for name in BENCHMARKS:
        assert find_preset(f"ZeroSearch/{name}-v0").downloads


def test_an_id_without_an_engine_is_an_error_that_names_engines(questions):
    with pytest.raises(ValueError, match="pass an engine"):
        gymnasium.make("ZeroSearch/File-v0", questions=questions)
    with pytest.raises(ValueError, match="needs 'path'"):
        gymnasium.make("ZeroSearch/Paragraphs-v0")


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("ZeroSerch-v0", "ZeroSearch"),
        ("ZeroSearch/TrivaQA-v0", "TriviaQA"),
        ("ZeroSearh/NQ-v0", "ZeroSearch"),
    ],
)
def test_an_unknown_id_is_an_error_that_suggests_the_nearest(wrong, nearest):
    with pytest.raises(gymnasium.error.Error, match=f"Did you mean: `{nearest}"):
        gymnasium.make(wrong)
    with pytest.raises(ValueError, match="Did you mean 'ZeroSearch"):
        find_preset(wrong)


@pytest.mark.parametrize(
    ("imports", "env_id"),
    [
        ("gymnasium", "zs_env:ZeroSearch-v0"),
        ("gymnasium", "envs_registry:ZeroSearch-v0"),
        ("gymnasium, zs_env", "ZeroSearch-v0"),
        ("gymnasium, envs_registry", "ZeroSearch-v0"),
    ],
)
def test_an_import_of_either_package_registers_the_ids_in_a_fresh_interpreter(imports, env_id):
    program = (
        f"import {imports}; env = gymnasium.make({env_id!r});"
        "env.reset(seed=0); print(env.unwrapped.transcript().question.source)"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "world\n"


def test_registering_twice_is_silent():
    register_presets()


def test_neither_package_imports_a_training_framework():
    program = (
        "import sys, zs_env, envs_registry, gymnasium;"
        "gymnasium.make('ZeroSearch-v0').reset(seed=0);"
        "print([m for m in ('torch', 'transformers', 'datasets', 'bm25s', 'rich') "
        "if m in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
