"""Known data sets in their official forms: all answers and paragraphs, or an error at load."""

import json

import pytest

from zs_env.questions import load_questions_file
from zs_env.questions.question import Paragraph

ASKED = {"question": "Where was she born?"}


def load(tmp_path, *rows, name="set.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_questions_file(path)


@pytest.mark.parametrize(
    ("fields", "answers"),
    [
        ({"answer": "New York City", "answer_aliases": ["NYC", "New York"]}, 3),  # MuSiQue
        ({"answer": "New York City", "aliases": ["NYC"]}, 2),
        ({"answers": ["New York City"], "golden_answers": ["New York City", "NYC"]}, 2),
        ({"answer": {"value": "New York City", "aliases": ["NYC"]}}, 2),  # TriviaQA
        ({"answers": {"text": ["New York City", "NYC"], "answer_start": [0, 9]}}, 2),  # SQuAD
        ({"obj": "New York City", "possible_answers": '["New York City", "NYC"]'}, 2),  # PopQA
        ({"possible_answers": ["New York City", "NYC"]}, 2),
        ({"golden_answers": ["New York City"], "aliases": [], "answer": None}, 1),
        ({"answer": "New York City", "answers": ["NYC"], "aliases": "New York"}, 3),
    ],
)
def test_the_answers_of_all_fields_are_gold(tmp_path, fields, answers):
    (question,) = load(tmp_path, ASKED | fields)
    expected = {1: {"New York City"}, 2: {"New York City", "NYC"}}
    assert set(question.answers) == expected.get(answers, {"New York City", "NYC", "New York"})
    assert len(question.answers) == answers
    assert not {"possible_answers", "aliases"} & set(question.metadata)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"answer": "a", "aliases": [3]}, r"field 'aliases\[0\]'"),
        ({"answer": "a", "aliases": 3}, "field 'aliases'"),
        ({"answers": []}, "field 'answers'"),
        ({"answers": [], "aliases": []}, "field 'answers'"),
        ({"answer": {"aliases_": []}}, "field 'answer'"),
        ({"answer": {"value": 3}}, "field 'answer.value'"),
        ({"answer": True}, "field 'answer'"),
        ({"possible_answers": "[3"}, "field 'possible_answers'"),
        ({}, "field 'answers'"),
    ],
)
def test_malformed_answers_are_an_error_with_the_field(tmp_path, fields, match):
    with pytest.raises(ValueError, match=match):
        load(tmp_path, ASKED | fields)


PARAGRAPHS = (
    Paragraph(title="X", text="X is red. X is old.", is_gold=True),
    Paragraph(title="Z", text="Z is a city.", is_gold=False),
)
LISTS = {
    "context": [["X", ["X is red.", " X is old."]], ["Z", ["Z is a city."]]],
    "supporting_facts": [["X", 0], ["X", 1]],
}
OBJECTS = {
    "context": {"title": ["X", "Z"], "sentences": [["X is red.", "X is old."], ["Z is a city."]]},
    "supporting_facts": {"title": ["X", "X"], "sent_id": [0, 1]},
}
DPR = {
    "positive_ctxs": [{"title": "X", "text": "X is red. X is old.", "score": 1}],
    "negative_ctxs": [],
    "hard_negative_ctxs": [{"title": "Z", "text": "Z is a city."}],
}


@pytest.mark.parametrize(
    "fields",
    [
        LISTS,
        OBJECTS,
        DPR,
        {name: json.dumps(value) for name, value in LISTS.items()},  # 2WikiMultihopQA, Parquet
        {"metadata": LISTS},
        {**LISTS, "context": [["X", "X is red. X is old."], ["Z", "Z is a city."]]},
    ],
)
def test_paragraphs_of_official_forms(tmp_path, fields):
    row = {**ASKED, "answer": "Oslo"}
    (question,) = load(tmp_path, row | fields)
    assert question.paragraphs == PARAGRAPHS
    # Rows of several forms may be in one file.
    assert [one.paragraphs for one in load(tmp_path, row | LISTS, row | fields, row)] == [
        PARAGRAPHS,
        PARAGRAPHS,
        (),
    ]


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"context": "text", "supporting_facts": []}, "field 'context"),
        ({"context": [["X"]], "supporting_facts": []}, r"field 'context\[0\]'"),
        ({"context": [["X", [3]]], "supporting_facts": []}, r"field 'context\[0\]'"),
        ({"context": [[3, ["a"]]], "supporting_facts": []}, r"field 'context\[0\]'"),
        ({"context": LISTS["context"], "supporting_facts": "X"}, "field 'supporting_facts'"),
        ({"context": LISTS["context"], "supporting_facts": [[]]}, "field 'supporting_facts'"),
        ({"context": {"title": ["X"]}, "supporting_facts": []}, "field 'context'"),
        ({"positive_ctxs": "X"}, "field 'positive_ctxs'"),
        ({"positive_ctxs": [{"title": "X"}]}, r"field 'positive_ctxs\[0\]'"),
        ({"positive_ctxs": [], "negative_ctxs": [3]}, r"field 'negative_ctxs\[0\]'"),
        ({"paragraphs": {}}, "field 'paragraphs'"),
    ],
)
def test_other_forms_are_refused_at_load_with_the_field(tmp_path, fields, match):
    with pytest.raises(ValueError, match=rf"line 1, {match}"):
        load(tmp_path, {**ASKED, "answer": "Oslo"} | fields)


def test_a_context_without_supporting_facts_belongs_to_another_format(tmp_path):
    (question,) = load(tmp_path, {**ASKED, "answer": "Oslo", "context": "A passage."})
    assert question.paragraphs == ()


@pytest.mark.parametrize("indent", [None, 2])
def test_one_json_list_of_rows_is_read(tmp_path, indent):
    rows = [{**ASKED, "_id": "a", "answer": "Oslo"} | LISTS, {**ASKED, "answer": "Bergen"}]
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(rows, indent=indent))
    first, second = load_questions_file(path)
    assert (first.answers, first.paragraphs) == (("Oslo",), PARAGRAPHS)
    assert (second.answers, second.id) == (("Bergen",), "dev:1")


def test_answers_of_articles_and_punctuation_are_reported_once_a_file(tmp_path, caplog):
    rows = [{**ASKED, "answers": answers} for answers in (["Oslo"], ["The The", "!!!"], ["A"])]
    load(tmp_path, rows[0])
    assert not caplog.records
    load(tmp_path, *rows)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "3 gold answers, such as 'The The'" in record.message and "line 2)" in record.message


def test_the_id_of_hotpotqa_is_the_id_of_the_question(tmp_path):
    path = tmp_path / "hotpotqa.jsonl"
    path.write_text('{"_id": "5a8b", "question": "q", "answer": "a"}\n')
    (question,) = load_questions_file(path)
    assert question.id == "5a8b"
    assert question.metadata == {}
