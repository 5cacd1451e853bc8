"""Commands and rendering on terminals that cannot encode every character."""

import io
import json
import sys

import pytest
from rich.console import Console

from agents.ask.view import View
from agents.cli.main import main
from agents.evaluation.progress import ProgressBar, print_plain
from zs_env import Document, Question, ZeroSearchEnv
from zs_env.engines import ScriptedEngine
from zs_env.rendering import encodable

NAME = "谁 Ł ö 🙂"
ESCAPED = {
    "ascii": r"\u8c01 \u0141 \xf6 \U0001f642",
    "cp1252": r"\u8c01 \u0141 ö \U0001f642",
    "gbk": r"谁 \u0141 \xf6 \U0001f642",
    "utf-8": NAME,
}
ENGINE = json.dumps({"kind": "scripted", "script": {}, "default": [f"{NAME} built it."]})


@pytest.fixture(params=ESCAPED)
def terminal(request, tmp_path, monkeypatch):
    """The encoding of a terminal."""
    row = {"question": f"Who is {NAME}?", "answers": [NAME], "id": "q"}
    (tmp_path / "q.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return request.param


@pytest.fixture
def streams(terminal, monkeypatch):
    """A function that replaces the streams: pytest sets its own between fixtures and test."""

    def replace(typed=b""):
        for name in ("stdout", "stderr"):
            stream = io.TextIOWrapper(io.BytesIO(), encoding=terminal, errors="strict")
            monkeypatch.setattr(sys, name, stream)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed), encoding=terminal))

    return replace


def _written(stream):
    stream.flush()
    return stream.buffer.getvalue().decode(stream.encoding)


def test_ask_shows_an_escaped_answer(terminal, streams):
    streams()
    assert main(["ask", f"Who is {NAME}?", "--policy", "quote-page", "--engine", ENGINE]) == 0
    assert ESCAPED[terminal] in _written(sys.stdout)


def test_ask_writes_json_that_holds_every_character(terminal, streams):
    streams()
    asked = ["ask", f"Who is {NAME}?", "--policy", "quote-page", "--engine", ENGINE, "--json"]
    assert main(asked) == 0
    assert json.loads(_written(sys.stdout))["question"] == f"Who is {NAME}?"
    assert ESCAPED[terminal] in _written(sys.stderr)


def test_play_reads_bytes_that_are_no_text(terminal, streams):
    streams(f"{NAME}\n= {NAME}\n".encode())
    play = ["play", "--questions", "q.jsonl", "--engine", ENGINE, "--episodes", "1"]
    assert main(play) == 0
    shown = _written(sys.stdout)
    assert f"Question: Who is {ESCAPED[terminal]}?" in shown
    assert f"Gold: {ESCAPED[terminal]}" in shown


def test_evaluate_names_an_agent_and_a_folder(terminal, streams):
    streams()
    flags = ["--questions", "q.jsonl", "--engine", ENGINE, "--output", f"out {NAME}", "--json"]
    assert main(["evaluate", "--agent", "search-once", *flags]) == 0
    assert json.loads(_written(sys.stdout))["folder"] == f"out {NAME}"
    assert f"Results and transcripts: out {ESCAPED[terminal]}" in _written(sys.stderr)


def test_an_environment_renders_for_a_person(terminal, streams):
    streams()
    engine = ScriptedEngine({}, default=(Document(f"{NAME} built it."),))
    questions = [Question(id="q", text=f"Who is {NAME}?", answers=(NAME,))]
    env = ZeroSearchEnv(questions, engine, render_mode="human")
    env.reset(seed=0)
    env.step(f"<search>{NAME}</search>")
    env.step(f"<answer>{NAME}</answer>")
    shown = _written(sys.stdout)
    assert f"{ESCAPED[terminal]} built it." in shown and f"gold '{ESCAPED[terminal]}'" in shown


@pytest.mark.parametrize("is_terminal", [False, True])
def test_views_and_progress_of_a_strict_console(terminal, streams, is_terminal):
    streams()
    console = Console(file=sys.stdout, force_terminal=is_terminal, width=200)
    print_plain(console, NAME)
    with ProgressBar(console, NAME, total=1) as bar:
        bar.update(1, NAME)
        bar.print(NAME)
    View(console).question(NAME)
    assert ESCAPED[terminal] in _written(sys.stdout)


def test_text_that_an_encoding_holds_is_unchanged():
    for encoding, text in ESCAPED.items():
        assert encodable(NAME, encoding) == text
    assert encodable(NAME, None) == NAME
