"""The commands and the Python example of README.md run as printed, in an empty folder.

Commands that need a language model server use a scripted one. Training commands run with smaller
batches; those that need a model of the hub are only parsed.
"""

import os
import re
import shlex
import subprocess
import sys
from glob import glob

import pytest
import tyro

from agents.cli.main import SUBCOMMANDS, main
from agents.cli.training import train, warm_start
from agents.sb3.train_config import TrainSB3Config
from tests.paths import ROOT
from tests.zs_env.simulator.generators.chat_server import ChatServer, chat

README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVER = "http://127.0.0.1:8000/v1"
SMALL = ("--questions-per-step", "2", "--group-size", "2", "--final-episodes", "8")
# Not run here: they wait for requests or for a person, or need a model of the hub.
WAITING = {"serve-search", "play", "tune-simulator", "warm-start"}
TRAINING = {"train", "train-sb3"}


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def _commands():
    """The words of each `zerosearch` command of the page, in order."""
    variables, commands = {}, []
    for line in "\n".join(_blocks("bash")).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["export"]:
            name, _, value = words[1].partition("=")
            variables[f"${name}"] = value
        elif words[:1] == ["zerosearch"]:
            commands.append([variables.get(word, word) for word in words[1:]])
    return commands


def _is_long(command):
    """Whether the command trains, or uses the result of a training."""
    return command[0] in TRAINING or any(word.startswith("runs/ppo/") for word in command)


def _run(command, address=SERVER):
    words = [word.replace(SERVER, address) for word in command]
    words = [found for word in words for found in (sorted(glob(word)) or [word])]
    assert main(words) == 0, shlex.join(words)


async def _page(body):
    return chat("Document 1: The river of Rome is the Tiber.", prompt_tokens=9, completion_tokens=9)


def test_every_subcommand_of_the_page_exists():
    assert {command[0] for command in _commands()} <= SUBCOMMANDS.keys()


def test_the_page_says_first_how_to_write_the_files_that_commands_name():
    assert ["sample-data"] in _commands()
    assert "`zerosearch sample-data`" in README[: README.index("data/train.jsonl")]


def test_the_commands_run_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["sample-data"])
    with ChatServer(_page) as server:
        for command in _commands():
            if command[0] not in WAITING and not _is_long(command):
                _run(command, server.url)
    assert "data/passages.jsonl.bm25" in capsys.readouterr().err


@pytest.mark.skipif(
    "ZEROSEARCH_LONG" not in os.environ, reason="takes ten minutes; ZEROSEARCH_LONG=1 runs it"
)
def test_the_training_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in _commands():
        from_hub = "--policy" in command
        if _is_long(command) and not from_hub:
            small = {"train": SMALL, "train-sb3": ("--steps", "2000")}.get(command[0], ())
            _run([*command, *small])


def test_the_flags_of_training_commands_exist(monkeypatch):
    monkeypatch.chdir(ROOT)  # one reads examples/*.toml
    parsers = {
        "train": train.parse_arguments,
        "warm-start": warm_start.parse_arguments,
        "train-sb3": lambda words: tyro.cli(TrainSB3Config, args=words),
    }
    parsed = [command for command in _commands() if command[0] in parsers]
    for name, *words in parsed:
        parsers[name]([word for word in words if word not in ("--recipe", "search-r1")])
    assert {command[0] for command in parsed} == parsers.keys()


def test_the_python_example_runs(tmp_path):
    (code,) = _blocks("python")
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("\n") > 5
