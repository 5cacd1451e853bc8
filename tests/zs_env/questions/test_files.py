"""Questions from files, and the errors of malformed rows."""

import json

import pytest

from tests.paths import SHARED_DATA
from zs_env.questions import load_questions_file, load_questions_files
from zs_env.questions.question import Paragraph, Question

REAL = SHARED_DATA
REAL_FILES = sorted(
    path for folder in ("eval", "train", "passages") for path in (REAL / folder).glob("*.gz")
)


def _write(tmp_path, *rows):
    path = tmp_path / "quiz.v2.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _load_one(tmp_path, **row):
    return load_questions_file(_write(tmp_path, row))[0]


def test_a_row_with_every_field_becomes_a_question(tmp_path):
    question = _load_one(
        tmp_path,
        id="q1",
        question="Who wrote it?",
        answers=["Ada", "Ada Lovelace"],
        source="quiz",
        prompt="Say who.",
        paragraphs=[{"title": "Note G", "text": "Ada wrote it.", "is_gold": True}],
        hops=2,
        checked=True,
        level="hard",
        odd=None,
        tags=["a"],
    )
    assert question == Question(
        id="q1",
        text="Who wrote it?",
        answers=("Ada", "Ada Lovelace"),
        source="quiz",
        prompt="Say who.",
        paragraphs=(Paragraph(title="Note G", text="Ada wrote it.", is_gold=True),),
        metadata={"hops": 2, "checked": True, "level": "hard"},
    )


@pytest.mark.parametrize("field", ["question", "text"])
@pytest.mark.parametrize(
    "answers", [{"answers": ["x"]}, {"golden_answers": ["x"]}, {"answer": "x"}]
)
def test_other_names_of_the_fields_are_known(tmp_path, field, answers):
    question = _load_one(tmp_path, **{field: "Q"}, **answers)
    assert (question.text, question.answers, question.metadata) == ("Q", ("x",), {})


def test_a_row_without_id_and_source_gets_them_from_the_file(tmp_path):
    path = _write(tmp_path, {"question": "A", "answer": "x"}, {"question": "B", "answer": "y"})
    assert [(q.id, q.source) for q in load_questions_file(path)] == [
        ("quiz:1", "quiz"),
        ("quiz:2", "quiz"),
    ]
    assert load_questions_file(path, source="mine")[1].id == "mine:2"


def test_an_integer_id_becomes_a_string(tmp_path):
    assert _load_one(tmp_path, id=7, question="Q", answer="x").id == "7"


def test_the_contents_of_chat_messages_are_the_prompt(tmp_path):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q? "}]
    question = _load_one(tmp_path, question="Q", answer="x", prompt=messages[1:])
    assert question.prompt == "Q? "
    question = _load_one(tmp_path, question="Q", answer="x", prompt=messages)
    assert question.prompt == "Be brief.\n\nQ? "


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"question": None}, "field 'question': got None"),
        ({"question": ""}, "field 'question': got ''"),
        ({"question": 5}, "field 'question': got 5 \\(int\\), expected a string"),
        ({"answers": None}, "field 'answers': got None"),
        ({"answers": []}, "field 'answers': got \\[\\]"),
        ({"answers": 1997}, "field 'answers': got 1997"),
        ({"answers": ["a", 1997]}, "field 'answers\\[1\\]': got 1997.*quote numbers"),
        ({"answers": ["a", " "]}, "field 'answers\\[1\\]'.*remove empty answers"),
        ({"id": True}, "field 'id': got True"),
        ({"id": ""}, "field 'id': got ''"),
        ({"id": [1]}, "field 'id'"),
        ({"source": 3}, "field 'source': got 3"),
        ({"prompt": 3}, "field 'prompt': got 3"),
        ({"prompt": []}, "field 'prompt': got \\[\\]"),
        ({"prompt": [{"role": "user"}]}, "field 'prompt\\[0\\]'"),
        ({"paragraphs": "text"}, "field 'paragraphs'"),
        ({"paragraphs": ["text"]}, "field 'paragraphs\\[0\\]'"),
        ({"paragraphs": [{"text": "t"}]}, "field 'paragraphs\\[0\\].is_gold': got None"),
        ({"paragraphs": [{"is_gold": True}]}, "field 'paragraphs\\[0\\].text': got None"),
        ({"paragraphs": [{"title": 1, "text": "t", "is_gold": True}]}, "title': got 1"),
    ],
)
def test_a_malformed_field_is_an_error_with_file_and_line(tmp_path, change, match):
    good = {"question": "Q", "answers": ["x"]}
    path = _write(tmp_path, good, good | change)
    with pytest.raises(ValueError, match=match) as caught:
        load_questions_file(path)
    assert str(caught.value).startswith(f"{path}, line 2, field")


def test_a_repeated_id_is_an_error_with_both_lines(tmp_path):
    row = {"id": "q", "question": "Q", "answer": "x"}
    with pytest.raises(ValueError, match=r"line 3, field 'id': got 'q'.*line 1 has it too"):
        load_questions_file(_write(tmp_path, row, row | {"id": "r"}, row))


def test_parquet_errors_name_the_row(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "quiz.parquet"
    rows = [{"question": "Q", "answers": ["x"]}, {"question": "Q", "answers": []}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    with pytest.raises(ValueError, match=r"quiz\.parquet, row 1, field 'answers'"):
        load_questions_file(path)


@pytest.mark.skipif(not REAL_FILES, reason="the real question files are not here")
@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.name)
def test_real_files_load_whole(path):
    questions = load_questions_file(path)
    assert all(question.metadata["split"] in path.name for question in questions)
    if path.parent.name == "passages":
        assert all(any(p.is_gold for p in question.paragraphs) for question in questions)


def test_the_questions_of_several_files_alternate(tmp_path):
    paths = []
    for name, count in (("a", 3), ("b", 1)):
        path = tmp_path / f"{name}.jsonl"
        rows = [{"id": f"{name}{i}", "question": "Who?", "answers": ["x"]} for i in range(count)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        paths.append(path)
    assert [q.id for q in load_questions_files(paths)] == ["a0", "b0", "a1", "a2"]


def test_the_same_id_in_two_files_is_an_error_with_both_paths(tmp_path):
    path = _write(tmp_path, {"id": "q", "question": "Who?", "answers": ["x"]})
    with pytest.raises(ValueError, match=r"quiz.v2.jsonl and .*quiz.v2.jsonl both contain .*'q'"):
        load_questions_files([path, path])


def test_an_empty_list_of_files_is_an_error():
    with pytest.raises(ValueError, match="at least one path"):
        load_questions_files([])
