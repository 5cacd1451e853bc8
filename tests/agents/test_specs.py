"""The identity of data is its content."""

import inspect
import json
from importlib import import_module
from pathlib import Path

import pytest

from agents.baselines import AnswerAtOnce
from agents.evaluation import evaluate
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.run_folder import RunFolder, resumed_config
from agents.specs import by_content
from agents.storage.config_file import with_settings
from zs_env.config.engines import ENGINE_KINDS
from zs_env.engines.retrieval.passage_file import file_fingerprint


def write(path, answer="Oslo", count=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"question": f"What is city {n}?", "answers": [answer]} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def questions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "train.jsonl")


def test_an_edit_anywhere_changes_the_fingerprint(tmp_path):
    path = tmp_path / "corpus"
    path.write_bytes(b"a" * 5 * 2**20)
    seen = {file_fingerprint(path)}
    for place in (0, 2**20 + 1, 5 * 2**19, 4 * 2**20 - 1, 5 * 2**20 - 1):
        with path.open("r+b") as stream:  # the same size, at once
            stream.seek(place)
            stream.write(b"Z")
        seen.add(file_fingerprint(path))
    assert len(seen) == 6
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    assert file_fingerprint(copy) == file_fingerprint(path)


def test_the_spelling_of_a_path_does_not_count(questions, tmp_path):
    spellings = ["train.jsonl", "./train.jsonl", str(questions), str(tmp_path / "x/../train.jsonl")]
    (tmp_path / "x").mkdir()
    found = [by_content({"questions": {"kind": "file", "path": name}}) for name in spellings]
    found += [by_content({"questions": name}) for name in spellings]
    found.append(by_content({"questions": {"kind": "file", "path": spellings[:1]}}))
    assert all(one == found[0] for one in found)
    elsewhere = write(tmp_path / "copy" / "train.jsonl")
    assert by_content({"questions": str(elsewhere)}) == found[0]
    write(elsewhere, answer="Bergen")
    assert by_content({"questions": str(elsewhere)}) != found[0]


def test_other_fields_and_nested_specs_stay(questions):
    spec = {"kind": "cache", "engine": {"kind": "bm25", "passages": str(questions), "k1": 2.0}}
    found = by_content(spec)
    assert found["kind"] == "cache" and found["engine"]["k1"] == 2.0
    assert found["engine"]["passages"] == [file_fingerprint(questions)]
    elsewhere = {"kind": "bm25", "passages": str(questions), "k1": 2.0, "index": "other/folder"}
    assert by_content({"kind": "cache", "engine": elsewhere}) == found
    assert by_content({"engine": {"kind": "bm25", "passages": "missing.jsonl"}})


@pytest.mark.parametrize("kind", sorted(ENGINE_KINDS))
def test_every_passage_file_stands_for_its_content(kind, questions):
    make = ENGINE_KINDS[kind]
    if isinstance(make, str):
        module, _, name = make.partition(":")
        make = getattr(import_module(module), name)
    fields = inspect.signature(make).parameters
    content = [file_fingerprint(questions)]
    if "passages" in fields:
        found = by_content({"kind": kind, "passages": str(questions)})
        assert found["passages"] == content
    for field in {"engine", "retriever", "sources"} & fields.keys():
        found = by_content({"kind": kind, field: str(questions)})
        assert found[field] == {"kind": "bm25", "passages": content}


def test_an_evaluation_goes_on_when_its_file_has_moved(questions, tmp_path):
    def run(path, count):
        kwargs = {"questions": {"kind": "file", "path": str(path)}, "engine": {"kind": "none"}}
        return evaluate(
            AnswerAtOnce(),
            "ZeroSearch/File-v0",
            episodes=count,
            env_kwargs=kwargs,
            output=tmp_path / "out",
        )

    run(questions, 1)
    moved = tmp_path / "moved" / "train.jsonl"
    moved.parent.mkdir()
    questions.rename(moved)
    assert run(moved, 3).num_episodes == 3
    recorded = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert recorded["env_kwargs"]["questions"]["path"] == str(moved)
    write(moved, answer="Bergen")
    with pytest.raises(ValueError, match="another evaluation"):
        run(moved, 3)


def test_a_run_is_resumed_on_the_same_data_only(questions, tmp_path):
    config = with_settings(
        TrainConfig(),
        {"questions": "train.jsonl", "eval_questions": "world", "output": Path("run")},
    )
    RunFolder(config).record_config()
    for spelling in ("./train.jsonl", str(questions)):
        resumed_config(with_settings(config, {"questions": spelling}), config)
    write(questions, answer="Bergen")
    with pytest.raises(ValueError, match=r"questions='train\.jsonl' \(not the data that the run"):
        resumed_config(config, config)
    write(questions)
    resumed_config(config, config)
    with pytest.raises(ValueError, match="eval_questions"):
        resumed_config(with_settings(config, {"eval_questions": "train.jsonl"}), config)
