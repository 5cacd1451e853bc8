"""`--fresh` of the commands that reuse stored results."""

import json
import sys

import pytest

from agents.ask.reply import ReplyFile
from agents.cli.main import main
from agents.evaluation.settings import EpisodeSettings
from agents.simulator_tuning.cached_generator import CachedTextGenerator
from agents.simulator_tuning.tune_config import TuneConfig
from agents.storage.output_folder import FreshFlag, ensure_settings
from zs_env.questions.question import Question
from zs_env.simulator import ScriptedTextGenerator
from zs_env.simulator.generators.base import Prompt

AGENT = """
CALLS = []

class Counting:
    fingerprint = 1
    def act(self, observation):
        CALLS.append(observation["question"])
        searched = observation["documents"][0]
        return "<answer>Ann</answer>" if searched else "<search>Ann</search>"
"""
AGENT_NAME = "counting_agent:Counting"
WORLD = ["--env", "ZeroSearch-v0", "--episodes", "3"]


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """What the agent was asked; cleared by the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "counting_agent", raising=False)
    (tmp_path / "counting_agent.py").write_text(AGENT)
    rows = [{"id": str(n), "question": f"Who built {n}?", "answers": ["Ann"]} for n in range(3)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    import counting_agent  # type: ignore[import-not-found]

    yield counting_agent.CALLS
    del sys.modules["counting_agent"]


COMMANDS = {
    "evaluate": ["evaluate", "--agent", AGENT_NAME, *WORLD, "--output", "out"],
    "sweep-noise": [
        *("sweep-noise", "--agents", AGENT_NAME, *WORLD, "--noise", "0", "1", "--output", "out"),
    ],
    "benchmark": [
        *("benchmark", "--agents", AGENT_NAME, "--sets", "nq=q.jsonl", "--output", "out"),
        *("--engine", '{"kind": "scripted", "script": {}, "default": ["Ann built it."]}'),
    ],
    "ask": ["ask", "--file", "q.jsonl", "--policy", AGENT_NAME, "--output", "out.jsonl"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_fresh_plays_everything_again_also_with_another_setting(name, calls, capsys):
    command = COMMANDS[name]
    assert main(command) == 0
    first = sorted(calls)
    calls.clear()
    assert main(command) == 0 and not calls  # everything is stored
    assert main([*command, "--fresh"]) == 0
    assert sorted(calls) == first
    calls.clear()
    assert main([*command, "--seed", "5"]) == 2 and not calls
    assert "start again with --fresh" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--seed", "5", "--fresh"]) == 0
    assert sorted(calls) == first
    calls.clear()
    assert main([*command, "--seed", "5"]) == 0 and not calls


def test_fresh_counterfactuals_flip_every_page_again(calls):
    assert main([*COMMANDS["evaluate"], "--noise", "0.5"]) == 0
    command = ["counterfactuals", "--evaluation", "out", "--output", "flipped"]
    calls.clear()
    assert main(command) == 0
    first = len(calls)
    assert main(command) == 0 and len(calls) == first > 0
    assert main([*command, "--fresh"]) == 0 and len(calls) == 2 * first


def test_commands_share_the_flag():
    assert issubclass(EpisodeSettings, FreshFlag) and issubclass(TuneConfig, FreshFlag)


def test_fresh_deletes_no_file_of_another_kind(tmp_path):
    path = tmp_path / "setting.json"
    (tmp_path / "episodes.jsonl").write_text("notes\n")
    files = [tmp_path / "episodes.jsonl"]
    with pytest.raises(ValueError, match="not this kind of sweep"):
        ensure_settings(path, {"a": 1}, what="sweep", files=files, fresh=True)
    assert files[0].read_text() == "notes\n"
    question = Question(id="1", text="Who?", answers=())
    with pytest.raises(ValueError, match="not a reply"):
        ReplyFile(files[0], [question], "x", fresh=True)
    assert files[0].read_text() == "notes\n"


def test_fresh_texts_of_a_generator_replace_the_stored_ones(tmp_path):
    written = []

    def write(prompt):
        written.append(prompt.text)
        return "text"

    def generate(**settings):
        generator = ScriptedTextGenerator(write, fingerprint="one")
        return CachedTextGenerator(generator, tmp_path / "texts.jsonl", **settings).generate(
            [Prompt("a", None, 0)]
        )

    generate()
    generate()
    assert written == ["a"]
    generate(fresh=True)
    assert written == ["a", "a"]
