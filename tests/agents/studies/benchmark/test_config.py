"""Sets by name, from the hub or from a file."""

import pytest

from agents.studies.benchmark.config import PAPER_SETS, question_sets
from agents.studies.benchmark.markdown import set_label
from zs_env.questions import HUB_SETS


def test_the_seven_sets_are_those_of_the_hub_table():
    sets = question_sets(list(PAPER_SETS))
    assert list(sets.values()) == [{"kind": "hub", "name": name} for name in PAPER_SETS]
    assert set(PAPER_SETS) <= set(HUB_SETS)


def test_a_set_can_be_a_file_or_a_spec_with_any_name():
    sets = question_sets(
        ["mine=q.jsonl", 'nq={"kind": "file", "path": "a=b"}', "2wikimultihopqa=w.parquet"]
    )
    assert sets["mine"] == {"kind": "file", "path": "q.jsonl"}
    assert sets["nq"] == {"kind": "file", "path": "a=b"}
    assert [set_label(name) for name in sets] == ["mine", "NQ", "2Wiki"]


@pytest.mark.parametrize(
    ("texts", "hint"),
    [
        (["hotpot"], "Did you mean 'hotpotqa'"),
        (["nq", "nq=q.jsonl"], "name each set once"),
        (["../x=q.jsonl"], "letters, digits"),
        (["nq={"], "--sets is not valid JSON"),
        ([], "NAME=FILE"),
    ],
)
def test_invalid_sets_are_refused_with_a_hint(texts, hint):
    with pytest.raises(ValueError, match=hint):
        question_sets(texts)
