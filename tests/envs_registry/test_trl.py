"""Rows for TRL, and episodes that are played through tools; TRL itself is not needed."""

import inspect
from types import MappingProxyType

import pytest

from envs_registry.trl import (
    SearchOpenTools,
    SearchTools,
    read_prompt,
    trl_row,
)
from tests.envs_registry.broken_judge import REWARD
from zs_env.prompts import OPEN_CALL_HINT, TOOL_CALLS_PROMPT
from zs_env.rewards import PRESETS
from zs_env.wrappers import OPEN_TOOL, TOOLS

WORLD = {
    "id": "ZeroSearch-v0",
    "max_turns": 3,
    "noise": {"start": 0.0, "end": 1.0, "total_steps": 9},
}
# No server listens on this port.
BROKEN = {"kind": "http", "url": "http://127.0.0.1:9/retrieve", "max_tries": 1}


class WorldTools(SearchTools):
    environment = WORLD


class SharedTools(WorldTools):
    share_group_seed = True


class BrokenTools(SearchTools):
    environment = MappingProxyType({"id": "ZeroSearch-v0", "engine": BROKEN})


def _play(tools, row):
    """Pages of three searches of the question."""
    tools.reset(**row)
    question = tools._env.transcript().question.text
    return [tools.search(f"{question} {number}") for number in range(2)]


@pytest.mark.parametrize(
    ("tools", "names"),
    [(SearchTools, {"search", "answer"}), (SearchOpenTools, {"search", "open", "answer"})],
)
def test_the_public_methods_are_the_tools(tools, names):
    # The same selection as in TRL.
    methods = [name for name, _ in inspect.getmembers(tools, inspect.isfunction)]
    public = {name for name in methods if not name.startswith("_")}
    assert public == {"reset", "get_reward", *names}


def test_a_model_reads_the_same_schemas_as_in_other_formats():
    schema = pytest.importorskip("transformers.utils").get_json_schema
    for tool in (*TOOLS, OPEN_TOOL):
        function = schema(getattr(SearchOpenTools(), tool["function"]["name"]))["function"]
        function.pop("return", None)
        assert function == tool["function"]


def test_tools_play_an_episode():
    tools = WorldTools()
    prompt = tools.reset(**trl_row(7, noise_probability=0.0))
    question = tools._env.transcript().question
    assert prompt == TOOL_CALLS_PROMPT.format(max_turns=3, tools="", question=question.text)
    assert tools.search("anything").startswith("<information>\nDoc 1: ")
    assert tools.answer(question.answers[0]) == ""
    assert tools.get_reward() == 1.0
    assert tools.search("more") == tools.answer("more") == "The episode is over."
    assert tools.get_reward() == 1.0


def test_the_tool_open_reads_a_document_of_the_last_page():
    class Tools(SearchOpenTools):
        environment = {**WORLD, "max_turns": 6, "tools": ["search", "open"]}  # noqa: RUF012

    tools = Tools()
    prompt = tools.reset(**trl_row(7, noise_probability=0.0))
    question = tools._env.transcript().question
    values = {"max_turns": 6, "tools": OPEN_CALL_HINT, "question": question.text}
    assert prompt == TOOL_CALLS_PROMPT.format(**values)
    notice = tools.open(1)
    assert notice.endswith("before any search. Call one of your tools.")
    tools.search(question.text)
    assert tools.open(2).startswith("<information>\nDoc 2: ")
    assert "no document with the number" in tools.open(document=99)
    assert "no such part" in tools.open(2, part=50)
    malformed = {"no_page": 1, "unknown_document": 1, "unknown_part": 1}
    assert tools._env.transcript().malformed == malformed
    tools.answer(question.answers[0])
    assert tools.get_reward() == 1.0
    assert tools.open(1) == "The episode is over."


@pytest.mark.parametrize(
    ("base", "allowed"), [(SearchTools, ["search", "open"]), (SearchOpenTools, ["search"])]
)
def test_tools_other_than_those_of_the_environment_are_an_error(base, allowed):
    tools = type("Tools", (base,), {"environment": {**WORLD, "tools": allowed}})
    with pytest.raises(ValueError, match="derive it from SearchOpenTools if"):
        tools()


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"f1": 1.0}, 0.0),
        ({"f1": 1.0, "searches": -0.25}, -0.25),
        ({"f1": 1.0, "malformed": -0.25}, -0.5),  # two of the three turns are empty
    ],
)
def test_the_remaining_turns_of_an_episode_without_an_answer_are_empty(terms, expected):
    environment = {**WORLD, "reward": {"terms": terms}}
    tools = type("Tools", (SearchTools,), {"environment": environment})()
    tools.reset(**trl_row(7))
    tools.search("anything")
    assert tools.get_reward() == tools.get_reward() == expected
    assert tools._env.transcript().reason == "turn_limit"


def test_an_error_that_is_not_the_models_ends_the_training():
    reward = {"terms": {"tests.envs_registry.broken_judge:no_number": 1.0}}
    tools = type("Tools", (SearchTools,), {"environment": {**WORLD, "reward": reward}})()
    tools.reset(**trl_row(7))
    with pytest.raises(ValueError, match="takes one string"):
        tools._call("search", {})  # a wrong argument is the model's
    with pytest.raises(ValueError, match="nan"):
        tools.answer("nobody")  # TRL catches it
    with pytest.raises(ValueError, match="nan"):
        tools.get_reward()


@pytest.mark.parametrize("name", PRESETS)
def test_a_reward_that_needs_thoughts_is_refused(name):
    tools = type("Tools", (SearchTools,), {"environment": {**WORLD, "reward": name}})
    if any(term.startswith("think_") for term, _ in PRESETS[name].weights):
        with pytest.raises(ValueError, match="need a thought before each action"):
            tools()
        return
    played = tools()
    played.reset(**trl_row(7))
    played.answer(played._env.transcript().question.answers[0])
    assert played.get_reward() > 0.0


def test_a_failed_episode_has_no_reward():
    tools = BrokenTools()
    tools.reset(**trl_row(7))
    tools.search("anything")
    assert tools.get_reward() is None
    tools.reset(**trl_row(7))
    assert tools.get_reward() == 0.0


def test_a_failed_judge_is_named_in_the_log(caplog):
    tools = type("Tools", (SearchTools,), {"environment": {**WORLD, "reward": REWARD}})()
    tools.reset(**trl_row(7))
    tools.answer("nobody")
    assert tools.get_reward() is None
    assert "judge: " in caplog.text and "no such model" in caplog.text


def test_noise_is_that_of_the_row_or_of_the_trainers_step(monkeypatch):
    tools = WorldTools()

    def noise(row):
        tools.reset(**row)
        return tools._env.transcript().noise_probability

    assert noise(trl_row(1)) == 0.0
    assert 0.0 < noise(trl_row(1)) < noise(trl_row(1)), "without a callback, episodes count"
    monkeypatch.setattr(WorldTools, "training_step", 9)
    assert noise(trl_row(1)) == 1.0
    assert noise(trl_row(1, noise_probability=0.25)) == 0.25


def test_a_group_shares_its_pages_on_request():
    row = trl_row(1, noise_probability=0.5, seed=3)
    own, shared = ([_play(tools(), row) for _ in range(8)] for tools in (WorldTools, SharedTools))
    assert all(pages == shared[0] for pages in shared)
    assert any(pages != own[0] for pages in own)


def test_a_row_without_a_seed_has_a_new_one_in_each_step():
    (message,) = trl_row(4)["prompt"]
    seeds = [read_prompt([message], seed=run, step=step)[2] for run in (0, 1) for step in (0, 1)]
    assert len(set(seeds)) == 4
    (message,) = trl_row(4, seed=5, noise_probability=0.5)["prompt"]
    assert read_prompt([message], seed=0, step=8) == (4, 0.5, 5)


def test_a_prompt_without_a_question_is_an_error():
    with pytest.raises(ValueError, match="trl_row"):
        SearchTools().reset(prompt=[{"role": "user", "content": "Who?"}])
