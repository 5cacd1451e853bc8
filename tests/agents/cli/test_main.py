"""The command line: output and exit status."""

import json
import subprocess
import sys

import pytest

from agents.cli.main import SUBCOMMANDS, main
from zs_env.transcripts.storage import read_transcripts

EVALUATE = ["evaluate", "--agent", "search-once", "--episodes", "8", "--seed", "3"]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_help_names_every_subcommand(capsys):
    assert main(["--help"]) == 0
    usage = capsys.readouterr().out
    assert all(name in usage for name in SUBCOMMANDS)
    assert main([]) == 2
    assert main(["--version"]) == 0


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["evalute"], "Did you mean 'evaluate'"),
        (["evaluate", "--agent", "serch-once"], "Did you mean 'search-once'"),
        (["evaluate", "--agent", "random", "--env", "ZeroSerch-v0"], "ZeroSearch"),
        (["evaluate", "--agent", "random", "--noise", "2"], "noise_probability"),
        (["evaluate", "--agent", "random", "--engine", "bm26"], "Did you mean 'bm25'"),
        (["play", "--questions", "nowhere.jsonl", "--engine", "none"], "nowhere.jsonl"),
    ],
)
def test_invalid_flags_are_refused_with_a_hint_and_status_2(arguments, hint, capsys):
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert hint in output.err and "Traceback" not in output.err
    assert not output.out or arguments[0] == "play"


def test_evaluate_prints_one_json_object_and_nothing_else_to_stdout(capsys):
    assert main([*EVALUATE, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["agent"], figures["env"], figures["seed"]) == (
        "search-once",
        "ZeroSearch-v0",
        3,
    )
    assert figures["episodes"] == 8 and figures["failures"]["count"] == 0
    for name in ("f1", "exact_match", "cover_match", "searches", "turns", "failures"):
        assert figures[name]["low"] <= figures[name]["mean"] <= figures[name]["high"]


def test_evaluate_continues_and_separates_other_settings(capsys):
    outputs = []
    for flags in ([], [], ["--noise", "1.0"], ["--engine", "none"]):
        assert main([*EVALUATE, *flags, "--json"]) == 0
        captured = capsys.readouterr()
        outputs.append((json.loads(captured.out), "played before" in captured.err))
    assert outputs[0] == (outputs[1][0], False) and outputs[1][1]
    assert len({figures["folder"] for figures, _ in outputs}) == 3


def test_evaluate_needs_no_torch():
    program = (
        "import sys; from agents.cli.main import main; "
        f"status = main({EVALUATE!r}); "
        "sys.exit(status or 10 * any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_a_language_model_is_evaluated_with_its_own_prompt_and_the_given_rules(tmp_path):
    flags = ["--max-turns", "2", "--num-documents", "3", "--max-document-chars", "40"]
    command = ["evaluate", "--agent", "tiny", "--episodes", "2", "--output", str(tmp_path)]
    assert main([*command, *flags]) == 0
    for transcript in read_transcripts(tmp_path / "transcripts.jsonl"):
        assert (transcript.max_turns, transcript.num_documents) == (2, 3)
        assert transcript.prompt == f"Question: {transcript.question.text}\n"
        texts = [document.text for turn in transcript.turns for document in turn.documents]
        assert texts and max(map(len, texts)) <= 40


def test_a_missing_library_is_reported_without_a_traceback(monkeypatch, capsys):
    def main_without_library(arguments):
        raise ImportError('this needs pyarrow: pip install "zerosearch-gym[data]"')

    monkeypatch.setattr("agents.cli.play.main", main_without_library)
    assert main(["play"]) == 2
    assert "zerosearch-gym[data]" in capsys.readouterr().err
