"""The file of replies loses no line when the process is killed."""

import json
from dataclasses import replace

import pytest

from agents.ask.reply import Reply, ReplyFile
from zs_env import Question

QUESTIONS = [Question(id=str(n), text=f"Who is {n}?", answers=()) for n in range(3)]


def reply(number, failure=None):
    return Reply(
        id=str(number),
        question=QUESTIONS[number].text,
        answer=None if failure else "Zoë",
        reason="failure" if failure else "answer",
        failure=failure,
        turns=1,
        queries=(),
        sources=(),
    )


def numbers(path):
    return [json.loads(line)["number"] for line in path.read_text("utf-8").splitlines()]


def test_a_later_session_asks_what_is_missing_incomplete_or_failed(tmp_path):
    path = tmp_path / "new" / "replies.jsonl"
    first = ReplyFile(path, QUESTIONS, "s")
    assert first.missing() == [0, 1, 2]
    first.add(2, reply(2))
    first.add(0, reply(0, failure="no engine"))
    with path.open("ab") as file:
        file.write('{"number": 1, "answer": "Zoë"'.encode()[:-3])
    second = ReplyFile(path, QUESTIONS, "s")
    assert second.missing() == [0, 1]
    second.add(1, reply(1))
    second.add(0, reply(0))
    assert numbers(path) == [2, 1, 0]
    assert [row["number"] for row in second.finish()] == numbers(path) == [0, 1, 2]
    assert ReplyFile(path, QUESTIONS, "s").missing() == []


@pytest.mark.parametrize("text", ["Who is the mayor?", "{Who}?", '{"id": "a"}'])
def test_other_text_is_not_removed(tmp_path, text):
    path = tmp_path / "mine.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match="a line that is not a reply"):
        ReplyFile(path, QUESTIONS, "s")
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["", "{", '{"number"', '{"number": 1, "id": "a'])
def test_an_incomplete_first_reply_is_dropped(tmp_path, text):
    path = tmp_path / "replies.jsonl"
    path.write_text(text)
    assert ReplyFile(path, QUESTIONS, "s").missing() == [0, 1, 2]
    assert not path.read_bytes()


def test_unencodable_characters_are_escaped(tmp_path):
    path = tmp_path / "replies.jsonl"
    question = Question(id="\ud801", text="Who is \ud83d?", answers=())
    file = ReplyFile(path, [question], "s")
    file.add(0, replace(reply(0), id=question.id, question=question.text))
    file.finish()
    (row,) = map(json.loads, path.read_text("utf-8").splitlines())
    assert (row["id"], row["question"]) == (question.id, question.text)
    assert ReplyFile(path, [question], "s").missing() == []


def test_a_failure_is_kept_until_it_is_replayed(tmp_path):
    path = tmp_path / "replies.jsonl"
    file = ReplyFile(path, QUESTIONS[:1], "s")
    file.add(0, reply(0, failure="no engine"))
    (row,) = file.finish()
    assert (row["failure"], row["answer"]) == ("no engine", None)
    assert numbers(path) == [0]


@pytest.mark.parametrize(
    ("questions", "setting", "match"),
    [
        (QUESTIONS, "other", "another policy"),
        (QUESTIONS[1:], "s", "not question 0"),
        ([], "s", "not question 0"),
    ],
)
def test_replies_to_other_questions_are_refused(questions, setting, match, tmp_path):
    path = tmp_path / "replies.jsonl"
    ReplyFile(path, QUESTIONS, "s").add(0, reply(0))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=match):
        ReplyFile(path, questions, setting)
    assert path.read_bytes() == before


def test_other_files_are_not_changed(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary\n")
    with pytest.raises(ValueError, match="not a reply"):
        ReplyFile(path, QUESTIONS, "s")
    assert path.read_text() == "Dear diary\n"
