"""Reading questions from a file."""

import gzip
import json

import pytest

from agents.ask.question_file import asked_question, read_asked_questions


def read(path):
    return [(one.id, one.text, one.answers) for one in read_asked_questions(path)]


def test_lines_of_text_are_questions(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_bytes("\ufeff Who?\r\n\nWho?\nWo wohnt Öde\n".encode())
    assert read(path) == [("1", "Who?", ()), ("3", "Who?", ()), ("4", "Wo wohnt Öde", ())]


def test_a_text_file_can_begin_with_a_bracket(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_text("[sic] Who?\n{Where}?\n")
    assert read(path) == [("1", "[sic] Who?", ()), ("2", "{Where}?", ())]


def test_json_lines_keep_their_ids_and_bring_no_answers(tmp_path):
    rows = [{"id": "a", "question": "Who?", "answers": ["Ann"]}, {"text": "Where?"}]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    for name, packed in (("a.jsonl", content), ("a.jsonl.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(packed)
        assert read(tmp_path / name) == [("a", "Who?", ()), ("2", "Where?", ())]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "contains no question"),
        (b" \n\n", "contains no question"),
        (b"Who?\n\xff\n", "line 2: not UTF-8"),
        (b'{"question": "Who?"}\n{"question": 3}\n', "line 2, field 'question': got 3"),
        (b'{"question": "Who?"}\n{"query": "x"}\n', "line 2, field 'question': got None"),
        (b'{"question": "Who?"}\n{"question"\n', "line 2: not JSON"),
        (b'["Who?"]\n', "expected an object"),
    ],
)
def test_invalid_lines_are_refused_with_a_hint(content, match, tmp_path):
    path = tmp_path / "questions"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=match):
        read_asked_questions(path)


def test_blank_questions_are_refused():
    assert asked_question(" Who? ").text == "Who?"
    with pytest.raises(ValueError, match="not blank"):
        asked_question("  ")
