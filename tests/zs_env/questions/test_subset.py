"""Subsets by ids."""

import json

import pytest

from zs_env import Question
from zs_env.config import build_questions
from zs_env.questions import questions_by_id

QUESTIONS = [Question(id=one, text=f"{one}?", answers=(one,)) for one in "abcd"]


def test_questions_come_in_the_order_of_the_ids():
    assert [question.id for question in questions_by_id(QUESTIONS, ["c", "a"])] == ["c", "a"]


@pytest.mark.parametrize(
    ("ids", "hint"), [(["a", "x", "y"], "2 of 3 .* such as 'x'"), (["a", "a"], "list each id once")]
)
def test_an_id_that_is_unknown_or_repeated_is_an_error(ids, hint):
    with pytest.raises(ValueError, match=hint):
        questions_by_id(QUESTIONS, ids)


def test_a_subset_is_built_from_its_spec(tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [{"id": q.id, "question": q.text, "answers": list(q.answers)} for q in QUESTIONS]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    whole = {"kind": "file", "path": str(path)}
    questions = build_questions({"kind": "subset", "of": whole, "ids": ["d", "b"]})
    assert [questions[n].answers for n in range(len(questions))] == [("d",), ("b",)]
