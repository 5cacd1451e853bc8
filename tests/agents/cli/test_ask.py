"""`zerosearch ask` from the command line."""

import json

import pytest

from agents.cli.main import main
from zs_env.config import GENERATOR_KINDS, WORLD, build_questions
from zs_env.simulator import GenerationError, ScriptedTextGenerator

AGENT = """
class Mine:
    fingerprint = 1
    def act(self, observation):
        if not observation["documents"][0]:
            return f"<think>Well.</think><search>{observation['question']}</search>"
        return f"<answer>{observation['documents'][0].split()[0]}</answer>"

class Silent:
    def act(self, observation):
        return "hm"
"""
PAGE = '{"kind": "scripted", "script": {}, "default": ["Ann built it.", "Bo did not."]}'
BROKEN = '{"kind": "simulator", "prompts": {"name": "s", "useful": "{answer}", "noisy": ""}, '
BROKEN += '"generator": {"kind": "echo"}}'
SIMULATOR = '{"kind": "simulator", "generator": {"kind": "echo"}, "retries": 0}'


@pytest.fixture(autouse=True)
def prompts(tmp_path, monkeypatch):
    """Prompts of the simulator's generator."""
    (tmp_path / "mine_for_asking.py").write_text(AGENT)
    monkeypatch.chdir(tmp_path)
    prompts = []

    def write(prompt):
        prompts.append(prompt.text)
        return "".join(f"Doc {n}: Ann is written about in page {n}\n" for n in range(1, 6))

    def make(*, sampling=None):
        return ScriptedTextGenerator(write, fingerprint="echo")

    monkeypatch.setitem(GENERATOR_KINDS, "echo", make)
    return prompts


def ask(*flags, policy="mine_for_asking:Mine", engine=PAGE):
    return main(["ask", *flags, "--policy", policy, "--engine", engine])


def test_a_question_is_shown_with_thought_search_page_answer_and_sources(capsys):
    assert ask("Who built it?") == 0
    output = capsys.readouterr()
    for part in (
        "Who built it?",
        "<think>Well.</think><search>Who built it?</search>",
        "1  Ann built it.",
        "2  Bo did not.",
        "Answer: Ann",
        "Sources that contain the answer:",
        "[search 1, document 1, scripted] Ann built it.",
    ):
        assert part in output.out
        output = output._replace(out=output.out.partition(part)[2])
    assert not output.err


def test_json_prints_one_object_to_standard_output(capsys):
    assert ask("Who built it?", "--json") == 0
    output = capsys.readouterr()
    reply = json.loads(output.out)
    assert (reply["answer"], reply["reason"], reply["turns"]) == ("Ann", "answer", 2)
    assert [source["text"] for source in reply["sources"]] == ["Ann built it."]
    assert "Well." in output.err


def test_a_simulator_gets_no_answer_if_none_is_known(prompts, capsys):
    assert ask("Who built it?", engine=SIMULATOR) == 0
    assert "The truth is" not in prompts[0] and "Query: Who built it?" in prompts[0]
    assert "Answer: Ann" in capsys.readouterr().out


def test_an_engine_failure_is_reported_with_status_1(capsys):
    assert ask("Who built it?", engine=BROKEN) == 1
    output = capsys.readouterr().out
    assert "The episode failed: SearchError" in output and "`context`" in output


def test_the_turn_limit_is_reported(capsys):
    assert ask("Who?", "--max-turns", "2", policy="mine_for_asking:Silent") == 0
    output = capsys.readouterr().out
    assert "Your last message contained neither a search nor an answer." in output
    assert "No answer within 2 turns." in output


def test_the_embedded_world_and_its_passages_answer_without_a_file(capsys):
    question = build_questions(WORLD)[0].text
    pytest.importorskip("bm25s")
    for engine in ("world", "bm25"):
        assert ask(question, engine=engine) == 0
        assert f", {engine}]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "engine", "hint"),
    [
        ([], PAGE, "either"),
        (["Who?", "--file", "f"], PAGE, "either"),
        (["Who?", "--output", "o"], PAGE, "--output is for the"),
        (["Who?", "--noise", "2"], PAGE, "noise"),
        ([" "], PAGE, "not blank"),
        (["--file", "nowhere"], PAGE, "nowhere is not a file"),
        (["Who?"], "paragraphs", "another engine|its own engine"),
        (["Who?", "--max-turns", "0"], PAGE, "max_turns must be at least 1"),
    ],
)
def test_invalid_flags_are_refused_with_a_hint_and_status_2(flags, engine, hint, capsys):
    try:
        assert ask(*flags, engine=engine) == 2
    except SystemExit as refused:  # by the parser of the flags
        assert refused.code == 2
    error = capsys.readouterr().err
    assert any(one in error for one in hint.split("|")) and "Traceback" not in error


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_gets_a_reply_for_each_line_and_is_continued(tmp_path, prompts, capsys):
    (tmp_path / "q.txt").write_text("Who is 1?\nWho is 2?\n\nWho is 1?\n")
    assert ask("--file", "q.txt", "--json", engine=SIMULATOR) == 0
    counts = json.loads(capsys.readouterr().out)
    replies = tmp_path / "q.txt.replies.jsonl"
    assert counts == {"questions": 3, "answered": 3, "failures": 0, "output": replies.name}
    rows = lines(replies)
    assert [(row["number"], row["id"], row["question"], row["answer"]) for row in rows] == [
        (0, "1", "Who is 1?", "Ann"),
        (1, "2", "Who is 2?", "Ann"),
        (2, "4", "Who is 1?", "Ann"),
    ]
    replies.write_text("".join(json.dumps(row) + "\n" for row in rows[1:]))
    prompts.clear()
    assert ask("--file", "q.txt", "--concurrency", "1", engine=SIMULATOR) == 0
    assert "2 of 3 were answered before" in capsys.readouterr().err
    assert lines(replies) == rows and len(prompts) == 1
    assert ask("--file", "q.txt", engine=PAGE) == 2
    assert "another policy, engine or setting" in capsys.readouterr().err


def test_replies_do_not_depend_on_concurrency(tmp_path):
    questions = [build_questions(WORLD)[n].text for n in range(12)]
    (tmp_path / "q.txt").write_text("\n".join(questions))
    for count in ("1", "5"):
        flags = ("--concurrency", count, "--noise", "0.5", "--output", count)
        assert ask("--file", "q.txt", *flags, engine="world") == 0
    assert (tmp_path / "1").read_bytes() == (tmp_path / "5").read_bytes()


def test_a_failure_is_a_line_and_is_replayed(tmp_path, monkeypatch, capsys):
    (tmp_path / "q.txt").write_text("Who is 1?\nWho is 2?\n")
    down = [True]

    def make(*, sampling=None):
        def write(prompt):
            failed = down[0] and "is 2" in prompt.text
            return GenerationError("down") if failed else "Doc 1: Ann is here"

        return ScriptedTextGenerator(write, fingerprint="echo")

    monkeypatch.setitem(GENERATOR_KINDS, "echo", make)
    assert ask("--file", "q.txt", engine=SIMULATOR) == 1
    first, second = lines(tmp_path / "q.txt.replies.jsonl")
    assert first["answer"] == "Ann"
    assert (second["answer"], second["failure"]) == (None, "GenerationError: down")
    down[0] = False
    assert ask("--file", "q.txt", engine=SIMULATOR) == 0
    rows = lines(tmp_path / "q.txt.replies.jsonl")
    assert [row["answer"] for row in rows] == ["Ann", "Ann"] and rows[0] == first


def test_replies_never_overwrite_the_questions(tmp_path, capsys):
    path = tmp_path / "q.txt"
    path.write_text("Who?")
    assert ask("--file", "q.txt", "--output", "./q.txt") == 2
    assert "the same file" in capsys.readouterr().err and path.read_text() == "Who?"


def test_replies_from_changed_passages_are_not_continued(tmp_path, capsys):
    pytest.importorskip("bm25s")
    (tmp_path / "q.txt").write_text("Who is the mayor?\n")
    path = tmp_path / "passages.jsonl"
    for name, status in (("Bob", 0), ("Carl", 2)):
        path.write_text(json.dumps({"text": f"{name} is the mayor."}) + "\n")
        assert ask("--file", "q.txt", engine="passages.jsonl") == status
    assert "another policy, engine or setting" in capsys.readouterr().err
    (row,) = lines(tmp_path / "q.txt.replies.jsonl")
    assert row["answer"] == "Bob"


def test_a_question_with_an_unencodable_character_is_answered(capsys):
    assert ask("Who is \ud83d?", "--json") == 0
    assert json.loads(capsys.readouterr().out)["question"] == "Who is \ud83d?"
