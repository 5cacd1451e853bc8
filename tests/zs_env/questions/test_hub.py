"""Hub sets go through the real loading code, on local folders of the hub's layout and schema."""

import json
import re
import sys

import pytest

from zs_env.questions import HUB_SETS, load_hub_questions
from zs_env.questions.question import Paragraph

CARD = """---
configs:
- config_name: nq
  data_files:
  - split: train
    path: nq/train.jsonl
  - split: test
    path: nq/test.jsonl
- config_name: hotpotqa
  data_files:
  - split: dev
    path: hotpotqa/dev.jsonl
---
"""
HOTPOT_ROW = {
    "id": "dev_0",
    "question": "Same country?",
    "golden_answers": ["yes"],
    "metadata": {
        "type": "comparison",
        "level": "hard",
        "supporting_facts": {"title": ["A"], "sent_id": [0]},
        "context": {"title": ["A", "B"], "sentences": [["One.", " Two."], ["Three."]]},
    },
}


@pytest.fixture
def flashrag(tmp_path):
    """A folder laid out as the benchmarks' repository."""
    pytest.importorskip("datasets").disable_progress_bars()
    folder = tmp_path / "repository"
    for name in ("nq", "hotpotqa"):
        (folder / name).mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    rows = [
        {"id": f"test_{n}", "question": f"Who was {n}?", "golden_answers": [f"Ada {n}", "Ada"]}
        for n in range(3)
    ]
    for split, chosen in {"train": rows[:1], "test": rows}.items():
        lines = "".join(json.dumps(row) + "\n" for row in chosen)
        (folder / f"nq/{split}.jsonl").write_text(lines)
    (folder / "hotpotqa/dev.jsonl").write_text(json.dumps(HOTPOT_ROW) + "\n")
    return folder


def test_a_benchmark_loads_its_evaluation_split(flashrag, tmp_path):
    questions = load_hub_questions("nq", location=flashrag, cache_dir=tmp_path / "cache")
    assert [(q.id, q.text, q.answers, q.source) for q in questions] == [
        (f"test_{n}", f"Who was {n}?", (f"Ada {n}", "Ada"), "nq") for n in range(3)
    ]


def test_other_splits_and_parts_of_them_load_by_name(flashrag, tmp_path):
    cache = tmp_path / "cache"
    assert len(load_hub_questions("nq", split="train", location=flashrag, cache_dir=cache)) == 1
    part = load_hub_questions("nq", split="test[1:]", location=flashrag, cache_dir=cache)
    assert [question.id for question in part] == ["test_1", "test_2"]


def test_hotpotqa_includes_paragraphs(flashrag, tmp_path):
    (question,) = load_hub_questions("hotpotqa", location=flashrag, cache_dir=tmp_path / "cache")
    assert question.paragraphs == (
        Paragraph(title="A", text="One. Two.", is_gold=True),
        Paragraph(title="B", text="Three.", is_gold=False),
    )
    assert question.metadata == {"type": "comparison", "level": "hard"}


def test_zerosearch_rows_keep_their_prompt_and_may_repeat_ids(tmp_path):
    pytest.importorskip("datasets").disable_progress_bars()
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    row = {
        "id": "train_0",
        "question": "who?",
        "golden_answers": ["Ada"],
        "data_source": "nq",
        "prompt": [{"role": "user", "content": "Answer the question. who? \n"}],
        "ability": "fact-reasoning",
        "reward_model": {"ground_truth": {"target": ["Ada"]}, "style": "rule"},
        "extra_info": {"index": 0, "split": "train"},
    }
    folder = tmp_path / "repository"
    folder.mkdir()
    rows = [row, row | {"data_source": "hotpotqa"}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "train.parquet")
    questions = load_hub_questions("zerosearch", location=folder, cache_dir=tmp_path / "cache")
    assert [q.source for q in questions] == ["nq", "hotpotqa"]
    assert [q.prompt for q in questions] == ["Answer the question. who? \n"] * 2
    assert len({q.id for q in questions}) == 2
    assert questions[0].metadata == {"ability": "fact-reasoning"}


def test_another_schema_is_an_error_that_names_the_column(tmp_path):
    pytest.importorskip("datasets").disable_progress_bars()
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"question": "Q", "golden_answers": ["x"]}\n')
    with pytest.raises(ValueError, match=r"expected also \['prompt', 'data_source'\]"):
        load_hub_questions("zerosearch", location=folder, cache_dir=tmp_path / "cache")


def test_a_data_set_that_cannot_be_loaded_is_an_error_that_suggests_a_local_copy(tmp_path):
    pytest.importorskip("datasets")
    with pytest.raises(ConnectionError, match="location="):
        load_hub_questions("nq", location=tmp_path / "nowhere", cache_dir=tmp_path / "cache")


def test_an_unknown_name_is_an_error_that_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'hotpotqa'"):
        load_hub_questions("hotpot_qa")
    with pytest.raises(ValueError, match=re.escape("('test',), got 'train'")):
        load_hub_questions("bamboogle", split="train")


def test_without_datasets_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=re.escape('pip install "zerosearch-gym[data]"')):
        load_hub_questions("nq")


def test_every_set_of_the_table_has_its_default_split():
    assert len(HUB_SETS) == 8
    assert all(hub_set.split in hub_set.splits for hub_set in HUB_SETS.values())
